import { chmodSync, copyFileSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isCode, PersonaError } from '../../ipc/errors.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import { exists } from '../kernel/files.ts';
import { type OpenOptions, openStore } from '../store/database.ts';
import type { Store } from '../store/store.ts';
import { holdsThings, identify, mismatch } from './mark.ts';

/** With less free the log gets no blocks ahead: what is left is for what brings slots back. */
const presizeFreeMin = 16 * 1024 * 1024;

/** The rows the daemon works with. */
export interface OpenedState {
  store: Store;
  /** Why nothing may be changed: the store then is a stand-in, the real file is not touched. */
  degraded?: string;
}

function sizeOf(file: string): number {
  try {
    return lstatSync(file).size;
  } catch {
    return 0;
  }
}

/**
 * Opens the database of the state tree. When it is missing though the tree is in use, damaged, or not
 * the one the tree was last used with, the answer is `degraded` and nothing of the tree is changed
 * (SECURITY 7). A database of a newer version is an error: an older daemon has no business there.
 */
export async function openState(
  paths: Paths,
  { open, steps }: Pick<OpenOptions, 'open' | 'steps'> = {},
): Promise<OpenedState> {
  const file = join(paths.state, statePlaces.database);
  const used = (await exists(join(paths.state, statePlaces.mark))) || holdsThings(paths.state);
  if (sizeOf(file) === 0 && used)
    return standIn(paths, 'the database is missing or empty, but the state tree is in use');
  try {
    const store = await openStore(file, {
      presized: localSpaceOf(paths.state).availableBytes >= presizeFreeMin,
      ...(open === undefined ? {} : { open }),
      ...(steps === undefined ? {} : { steps }),
      verify: async (read) => {
        const reason = await mismatch(paths.state, read);
        if (reason !== undefined) throw new PersonaError('state-damaged', reason);
      },
    });
    await identify(store);
    return { store };
  } catch (error) {
    if (!isCode(error, 'state-damaged')) throw error;
    return standIn(paths, String(error.detail.reason ?? error.message), file);
  }
}

/** Rows to look at while nothing may be changed: a copy of what can still be read, or none. */
async function standIn(paths: Paths, reason: string, file?: string): Promise<OpenedState> {
  // Users pass through the run tree, and a database put back by hand may be readable for all.
  const folder = join(paths.run, 'degraded');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const copy = join(folder, 'personad.db');
  for (const end of ['', '-wal', '-shm']) rmSync(`${copy}${end}`, { force: true });
  if (file !== undefined) {
    for (const end of ['', '-wal'])
      if (sizeOf(`${file}${end}`) > 0) copyFileSync(`${file}${end}`, `${copy}${end}`);
    try {
      return { store: await openStore(copy), degraded: reason };
    } catch {
      for (const end of ['', '-wal', '-shm']) rmSync(`${copy}${end}`, { force: true });
    }
  }
  return { store: await openStore(copy), degraded: reason };
}
