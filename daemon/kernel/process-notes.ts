import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from './clock.ts';
import { type ProcessId, statOf } from './processes.ts';

const named = /^(\d{1,10})-(\d{1,20})$/;

/**
 * What is to be known of processes as long as they run, whoever runs the daemon: a file for each, root's alone, in a folder of the run tree.
 * Nothing is flushed: a note ends with its process, and all of them with the boot.
 */
export class ProcessNotes {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  #path({ pid, startTime }: ProcessId): string {
    return join(this.#folder, `${pid}-${startTime}`);
  }

  write(process: ProcessId, note: object): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    writeFileSync(this.#path(process), JSON.stringify({ boot: bootId(), note }), { mode: 0o600 });
  }

  remove(process: ProcessId): void {
    rmSync(this.#path(process), { force: true });
  }

  /** Notes of processes that run. All others are removed, and so is what a daemon that was killed has half written. */
  read(): { process: ProcessId & { uid: number }; note: unknown }[] {
    return namesIn(this.#folder).flatMap((name) => {
      const [, pid, startTime] = named.exec(name) ?? [];
      const found = statOf({ pid: Number(pid), startTime: Number(startTime) });
      const note = found && noteAt(join(this.#folder, name));
      if (found !== undefined && note !== undefined) return [{ process: found, note }];
      rmSync(join(this.#folder, name), { force: true, recursive: true });
      return [];
    });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // nothing was ever noted
  }
}

function noteAt(path: string): unknown {
  try {
    const { boot, note } = JSON.parse(readFileSync(path, 'utf8')) as {
      boot: unknown;
      note: unknown;
    };
    return boot === bootId() ? note : undefined;
  } catch {
    return undefined;
  }
}
