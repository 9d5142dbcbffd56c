/** One name of the folder on the disk, as it was when it was last read whole. Byte strings, one char a byte. */
export interface Base {
  type: 'file' | 'folder' | 'symlink';
  /** Which file it is, on the disk. */
  inode: string;
  size: number;
  mtimeNs: string;
  mode: number;
  target?: string;
  /** The file in memory that was filled with it; absent until it was. */
  copy?: string;
  /** What the content and the attributes of that were known by. */
  mark?: string;
}

/** One name of the folder in memory. */
export interface Now {
  type: Base['type'];
  inode: string;
  mode: number;
  target?: string;
}

/** The content of a file in memory as it was last taken: a file beside the original. */
export interface Saved {
  blob: string;
  size: number;
  digest: string;
}

/** What tells that a name on the disk is still what it was. */
export type Witness = Pick<Base, 'type' | 'inode' | 'size' | 'mtimeNs'>;

/** What is to be done to one name of the folder on the disk. `was`: what is there; null: nothing. */
export type Change = { path: string; was: Witness | null } & (
  | ({ type: 'file' } & Saved)
  | { type: 'folder'; mode: number }
  | { type: 'symlink'; target: string }
  /** A further name of the file at `to`, and its content for where that has gone. Earlier versions wrote none. */
  | ({ type: 'link'; to: string } & Partial<Saved>)
  | { type: 'gone' }
);

const witnessOf = (base: Base | undefined): Witness | null =>
  base === undefined
    ? null
    : { type: base.type, inode: base.inode, size: base.size, mtimeNs: base.mtimeNs };

/** What is known of the contents of files in memory, by their inodes. */
export interface Contents {
  /** Those that may have been written since memory was filled. */
  changed: ReadonlySet<string>;
  /** What was taken of them, unless they were written again. */
  saved: ReadonlyMap<string, Saved>;
}

/** True when the file at this name of memory has the content that the disk has there. */
const isUntouched = (base: Base | undefined, now: Now, { changed }: Contents): boolean =>
  base?.type === 'file' && base.copy === now.inode && !changed.has(now.inode);

/** Forgets, in what is known of files by their inodes, those that have no name any more. */
export function forgetGone(
  now: ReadonlyMap<string, Now>,
  ...known: readonly { keys(): Iterable<string>; delete(inode: string): boolean }[]
): void {
  const there = new Set([...now.values()].map(({ inode }) => inode));
  for (const one of known) for (const inode of one.keys()) if (!there.has(inode)) one.delete(inode);
}

/** Files in memory of which neither the disk nor what was saved has the content. Pure. */
export function toTake(
  base: ReadonlyMap<string, Base>,
  now: ReadonlyMap<string, Now>,
  contents: Contents,
): Set<string> {
  const wanted = new Set<string>();
  for (const [path, one] of now)
    if (
      one.type === 'file' &&
      !contents.saved.has(one.inode) &&
      !isUntouched(base.get(path), one, contents)
    )
      wanted.add(one.inode);
  return wanted;
}

/** A name, and the folders that lead to it. */
const pathsTo = (path: string): string[] => {
  const words = path.split('/');
  return words.map((_, index) => words.slice(0, index + 1).join('/'));
};

/**
 * What makes the folder on the disk what it is in memory: what is there, folders before what is in them, then names that are gone, the deepest
 * first. Whoever reads the disk meanwhile finds the new beside the old. Only what is in the way of something new goes before it.
 * Every file that differs must have been saved (see `toTake`). Pure.
 */
export function planDelta(
  base: ReadonlyMap<string, Base>,
  now: ReadonlyMap<string, Now>,
  contents: Contents,
): Change[] {
  const gone: Change[] = [];
  for (const [path, one] of base) {
    const here = now.get(path);
    if (
      here === undefined ||
      (here.type !== one.type && (one.type === 'folder' || here.type === 'folder'))
    )
      gone.push({ type: 'gone', path, was: witnessOf(one) });
  }
  gone.sort((a, b) => (a.path < b.path ? 1 : -1));
  const dropped = new Set(gone.map(({ path }) => path));
  const there: Change[] = [];
  /** A name of each file that the disk has as it is. */
  const known = new Map<string, string>();
  for (const [path, one] of now)
    if (one.type === 'file' && isUntouched(base.get(path), one, contents) && !known.has(one.inode))
      known.set(one.inode, path);
  for (const path of [...now.keys()].sort()) {
    const one = now.get(path)!;
    const before = base.get(path);
    const was = dropped.has(path) ? null : witnessOf(before);
    if (one.type === 'folder') {
      if (was === null || before?.mode !== one.mode)
        there.push({ type: 'folder', path, mode: one.mode, was });
    } else if (one.type === 'symlink') {
      if (was?.type !== 'symlink' || before?.target !== one.target)
        there.push({ type: 'symlink', path, target: one.target ?? '', was });
    } else if (!isUntouched(before, one, contents)) {
      const to = known.get(one.inode);
      const content = contents.saved.get(one.inode);
      if (content === undefined) throw new Error(`internal error: ${path} was not taken`);
      // Names of one content in the box are names of one file.
      if (to === undefined) there.push({ type: 'file', path, ...content, was });
      else there.push({ type: 'link', path, to, ...content, was });
    }
  }
  const replaced = new Set(gone.map(({ path }) => path).filter((path) => now.has(path)));
  const isInTheWay = ({ path }: Change): boolean =>
    replaced.size > 0 && pathsTo(path).some((one) => replaced.has(one));
  return [...gone.filter(isInTheWay), ...there, ...gone.filter((change) => !isInTheWay(change))];
}
