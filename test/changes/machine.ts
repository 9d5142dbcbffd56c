import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Plan } from '../../daemon/changes/change.ts';
import type { Engine } from '../../daemon/changes/engine.ts';
import { type Faults, noFaults } from '../../daemon/changes/faults.ts';
import type { AnyTask, Json } from '../../daemon/changes/task.ts';
import { openDriver } from '../../daemon/store/database.ts';
import type { Driver } from '../../daemon/store/store.ts';

/** Where a proof reaches into a machine: the subject hands these on to its store and engine. */
export interface Hooks {
  faults: Faults;
  openDriver(file: string): Promise<Driver>;
  wrapTask(task: AnyTask): AnyTask;
}

/** One opened machine: the parts of the daemon a change needs, on a folder of its own. */
export interface Machine {
  /** Not yet recovered. */
  engine: Engine;
  /** The change under proof, planned from what the machine is now. */
  plan(): Promise<Plan>;
  /** All that the change may touch, without times and ids: compared between runs. */
  observe(): Promise<Json>;
  close(): Promise<void>;
}

/** A change under proof. Exported from a module, so that a child process can open it too. */
export interface Subject {
  /** A folder of its own instead of a fresh one per run. */
  folder?: string;
  /** Makes the first state of the machine in an empty folder. */
  prepare(folder: string): Promise<void>;
  open(folder: string, hooks: Hooks): Promise<Machine>;
  /** Undoes what `open` left outside of the folder (mounts); called before the folder is deleted. */
  cleanUp?(folder: string): Promise<void>;
}

/** What an undisturbed run shows: both states, and every fault point in its order. */
export interface Course {
  first: Json;
  target: Json;
  points: string[];
}

/** No fault anywhere. */
export const plain: Hooks = { faults: noFaults, openDriver, wrapTask: (task) => task };

/** Works on a folder in its first state, and removes it. */
export async function inFolder<T>(
  subject: Subject,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = subject.folder ?? mkdtempSync(join(tmpdir(), 'personad-proof-'));
  try {
    await subject.prepare(folder);
    return await work(folder);
  } finally {
    await subject.cleanUp?.(folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Works on a recovered machine, and closes it. */
export async function withMachine<T>(
  subject: Subject,
  folder: string,
  hooks: Partial<Hooks>,
  work: (machine: Machine) => Promise<T>,
): Promise<T> {
  const machine = await subject.open(folder, { ...plain, ...hooks });
  try {
    await machine.engine.recover();
    return await work(machine);
  } finally {
    await machine.close();
  }
}
