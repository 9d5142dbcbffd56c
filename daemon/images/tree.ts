import type { PersonaError } from '../../ipc/errors.ts';
import { type Entry, isWhiteout, shownPath } from './entry.ts';
import { badImage } from './faults.ts';
import { comparePaths } from './order.ts';

/** A whole file tree: its entries in path order, the root first, with random access to content. */
export interface Tree {
  entries: Entry[];
  /** The bytes of the data extents of a file, in order. Nothing for other types. */
  read(entry: Entry): AsyncIterable<Buffer>;
  /** Releases what the tree holds. The descriptor given to the reader stays the caller's. */
  close(): Promise<void>;
}

/** An entry on its way, with its data. The content is read before the next item is asked for. */
export interface Item {
  entry: Entry;
  content: AsyncIterable<Buffer>;
}

/** Content of an entry that has none. */
export const noContent: AsyncIterable<Buffer> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true as const, value: undefined }) }),
};

/** The items of a tree, in order. */
export function* itemsOf(tree: Tree): Generator<Item> {
  for (const entry of tree.entries) {
    yield { entry, content: entry.type === 'file' ? tree.read(entry) : noContent };
  }
}

/** A tree over entries in memory; `read` gives the content of a file. */
export function treeOf(entries: Entry[], read: (entry: Entry) => AsyncIterable<Buffer>): Tree {
  return { entries, read, close: async () => {} };
}

/**
 * Puts the entries of a reader into the canonical form: sorted, and each hard-link group owned by
 * its first name in path order. The object that describes a file stays the same object (only its
 * path may change), so that a reader may keep content positions in a Map by object.
 * A hard link to a hard link is followed.
 * @throws PersonaError 'bad-image' when a link's target is missing, a folder, or a circle.
 */
export function arrangeEntries(entries: Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  let links = false;
  for (const entry of entries) {
    if (byPath.has(entry.path)) throw invalid(entry, 'stands there twice');
    byPath.set(entry.path, entry);
    if (entry.type === 'hardlink') links = true;
  }
  if (links) ownGroups(entries, byPath);
  return entries.sort((a, b) => comparePaths(a.path, b.path));
}

function ownGroups(entries: Entry[], byPath: Map<string, Entry>): void {
  const groups = new Map<Entry, Entry[]>();
  for (const entry of entries) {
    if (entry.type !== 'hardlink') continue;
    const owner = ownerOf(entry, byPath);
    const group = groups.get(owner);
    if (group === undefined) groups.set(owner, [entry]);
    else group.push(entry);
  }
  for (const [owner, group] of groups) {
    if (isWhiteout(owner)) {
      // Deletion marks of an upper share one inode, which means nothing.
      for (const link of group) markDeleted(link);
      continue;
    }
    const first = group.reduce((a, b) => (comparePaths(a.path, b.path) < 0 ? a : b));
    if (comparePaths(first.path, owner.path) < 0) {
      const path = first.path;
      first.path = owner.path;
      owner.path = path;
    }
    for (const link of group) {
      link.target = owner.path;
      link.mode = link.uid = link.gid = link.mtime = link.mtimeNs = 0;
      link.xattrs = [];
    }
  }
}

function markDeleted(link: Entry): void {
  link.type = 'char';
  link.rdev = [0, 0];
  delete link.target;
}

function ownerOf(link: Entry, byPath: Map<string, Entry>): Entry {
  let entry = link;
  // A chain longer than this is a circle or an attack; real archives link to a first name.
  for (let steps = 0; entry.type === 'hardlink'; steps++) {
    const next = byPath.get(entry.target ?? '');
    if (next === undefined) throw invalid(link, 'is a hard link to nothing');
    if (steps > 64) throw invalid(link, 'is a hard link in a circle');
    entry = next;
  }
  if (entry.type === 'dir') throw invalid(link, 'is a hard link to a folder');
  return entry;
}

function invalid(entry: Entry, reason: string): PersonaError {
  return badImage(`${shownPath(entry.path)} ${reason}`);
}
