import { join } from 'node:path';
import { statePlaces } from '../config/paths.ts';

/** Where a backup is unpacked, and what tells how far it has come to take the place of the state. */
export interface RestorePlaces {
  /** Everything of it but what slots hold; and what slots hold, beside the slots, which may lie on a volume of their own. */
  folder: string;
  slots: string;
  /** The new database, keys, layers, personas, under their own names. */
  fresh: string;
  /** Stands when all of it is there, checked and durable: the next start takes it up. */
  ready: string;
  /** Stands when the old state has been put aside. */
  aside: string;
}

/** Kind of both records. */
export const restoreRecord = 'restore';

/** The places of a restore in this state tree. */
export function restorePlaces(state: string): RestorePlaces {
  const folder = join(state, statePlaces.restore);
  return {
    folder,
    slots: join(state, statePlaces.restoreSlots),
    fresh: join(folder, 'new'),
    ready: join(folder, 'ready.json'),
    aside: join(folder, 'aside.json'),
  };
}

/** Folders of the state tree that a restore replaces whole. */
export const replacedFolders = [
  statePlaces.keys,
  statePlaces.layers,
  statePlaces.personas,
] as const;

/** Files that it replaces; all of the old ones go, the last one comes with the backup. */
export const replacedFiles = [
  statePlaces.mark,
  `${statePlaces.database}-wal`,
  `${statePlaces.database}-shm`,
  statePlaces.database,
] as const;
