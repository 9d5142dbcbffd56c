import { chmodSync, existsSync, lstatSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import type { Fd } from '../kernel/fd.ts';
import { ensureFolder, lockFile, namesOf } from '../kernel/files.ts';

/** Folders of the state tree: root's alone, for ever. What users may see appears below `run`. */
const stateFolders = [
  statePlaces.keys,
  statePlaces.trustedKeys,
  statePlaces.layers,
  statePlaces.personas,
  statePlaces.slots,
  statePlaces.volumes,
  statePlaces.enclaves,
  statePlaces.staging,
  statePlaces.fast,
  statePlaces.quarantine,
];

/** Knobs of the machine are given back within this time. */
const restoreMs = 5_000;
const restoreEveryMs = 50;

function folderMode(path: string): number | undefined {
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) throw new PersonaError('state-damaged', `${path} is not a folder`);
    if (stat.uid !== process.getuid?.())
      throw new PersonaError('state-damaged', `${path} belongs to uid ${stat.uid}`);
    return stat.mode & 0o7777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes the folders above `path` that are missing, for everyone to pass: sockets and slots lie below. */
function makeParents(path: string): void {
  const parent = dirname(path);
  if (existsSync(parent)) return;
  makeParents(parent);
  mkdirSync(parent);
  chmodSync(parent, 0o755);
}

/** A folder with exactly this mode. */
async function settle(path: string, mode: number): Promise<void> {
  const found = folderMode(path);
  if (found === mode) return;
  makeParents(path);
  await ensureFolder(path, mode);
  chmodSync(path, mode);
}

/**
 * Takes the lock of the state tree for the life of the process. Throws `already-running` when another
 * daemon has it, which is not disturbed: nothing but the two folders has been touched by then.
 */
export async function lockState({ state, run }: Paths): Promise<Fd> {
  await settle(state, 0o700);
  await settle(run, 0o755);
  // On the state tree itself: two run folders must not make two daemons of one state.
  const file = join(state, statePlaces.lock);
  // What a killed daemon has left may be on its way back, under this very lock, which is let go of last.
  const isLeft =
    existsSync(join(run, runPlaces.leases)) ||
    namesOf(join(run, runPlaces.stops), 'file').length > 0;
  let lock = await lockFile(file);
  const end = performance.now() + restoreMs;
  while (lock === undefined && isLeft && performance.now() < end) {
    await pause(restoreEveryMs);
    lock = await lockFile(file);
  }
  if (lock === undefined) throw new PersonaError('already-running', { path: state });
  return lock;
}

/** Makes what is missing of the trees and sets every mode. Call with the lock held. */
export async function makeTrees({ state, run }: Paths): Promise<void> {
  for (const name of stateFolders) await settle(join(state, name), 0o700);
  const open = [runPlaces.slots, runPlaces.fast, runPlaces.volumes, runPlaces.enclaves];
  for (const name of open) await settle(join(run, name), 0o711);
  await settle(join(run, runPlaces.wholeVolumes), 0o700);
}
