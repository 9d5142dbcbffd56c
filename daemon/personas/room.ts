import { join } from 'node:path';
import { type Paths, statePlaces } from '../config/paths.ts';
import { ensureFolder } from '../kernel/files.ts';
import type { Store } from '../store/store.ts';
import { putKey } from './key-rows.ts';
import { ensureMachineKey, type MachineKey } from './machine-key.ts';
import { PersonaBook } from './persona-book.ts';
import { readSeals } from './seals.ts';
import { Witnesses } from './witnesses.ts';

/** What one user may have in the store. */
export interface OwnerShare {
  /** Bases and personas together. */
  count: number;
  /** Of all of them together. */
  bytes: number;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
}

/** A base or persona that a change is about to commit. */
export interface Coming {
  kind: 'base' | 'persona';
  name: string;
  owner: number;
  bytes: number;
}

/** What the functions and tasks about personas and keys are handed. */
export interface PersonasRoom {
  store: Store;
  paths: Pick<Paths, 'state'>;
  book: PersonaBook;
  machineKey: MachineKey;
  /** Personas whose files running changes put in place and have not committed: which changes want each. */
  placing: Map<string, Set<number>>;
  /** What every file was when it was last right; which of them are damaged. */
  witnesses: Witnesses;
  /** What the kernel measures of sealed files, by their path in the state tree. */
  seals: Map<string, string>;
  /** Of the state tree: bytes that may be written beside what is kept free; below 0 when there are too few. */
  space: { spareBytes(): number };
  /** What each user may have in the store. */
  share: OwnerShare;
  /** What running changes are about to add to those shares, by the change. */
  coming: Map<number, Coming>;
  /** Milliseconds since 1970. */
  now(): number;
}

/** What the room is opened with. */
export type PersonasRoomParts = Pick<PersonasRoom, 'store' | 'paths' | 'space' | 'share' | 'now'>;

/**
 * Opens the room: makes its folders and, at the first start, this machine's key; reads what is there.
 * Throws state-damaged when the key cannot be read.
 */
export async function openPersonasRoom(parts: PersonasRoomParts): Promise<PersonasRoom> {
  const { store, paths, space, share, now } = parts;
  for (const place of [statePlaces.personas, statePlaces.layers, statePlaces.staging]) {
    await ensureFolder(join(paths.state, place));
  }
  const room: PersonasRoom = {
    store,
    paths,
    space,
    share,
    now,
    machineKey: await ensureMachineKey(paths),
    book: new PersonaBook(store),
    placing: new Map(),
    coming: new Map(),
    witnesses: new Witnesses(store, paths.state),
    seals: await readSeals(store),
  };
  await room.book.load();
  await room.witnesses.load();
  await recordMachineKey(room);
  return room;
}

/** Gives the machine key its row. A key it had before (the file was lost or replaced) stays trusted. */
async function recordMachineKey({ store, book, machineKey, now }: PersonasRoom): Promise<void> {
  const { id, publicKey } = machineKey;
  const earlier = book.keys().filter((key) => key.state === 'machine' && key.id !== id);
  if (earlier.length === 0 && book.key(id)?.state === 'machine') return;
  const atMs = now();
  await store.commit((tx) => {
    for (const key of earlier) {
      putKey(tx, { ...key, state: 'trusted', comment: 'an earlier key of this machine' });
    }
    const comment = 'this machine';
    putKey(tx, { id, publicKey, comment, state: 'machine', addedMs: atMs, changedMs: atMs });
  });
  await book.load();
}
