/** The kinds of entries a tree can hold. */
export const entryTypes = [
  'dir',
  'file',
  'symlink',
  'hardlink',
  'char',
  'block',
  'fifo',
  'socket',
] as const;
export type EntryType = (typeof entryTypes)[number];

/**
 * One name of a file tree. Byte strings (path, target, attribute names and values) are latin1: one
 * character is one byte, so that odd names survive and compare bytewise.
 */
export interface Entry {
  /** '' is the root; else 'usr/bin/x': no slash at an end, no '.', '..' or empty component. */
  path: string;
  type: EntryType;
  /** Permission bits with suid, sgid and sticky (at most 0o7777). 0o777 for a symlink. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970, may be negative. */
  mtime: number;
  /** 0 to 999 999 999. */
  mtimeNs: number;
  /** Sorted bytewise by name, no name twice. */
  xattrs: [name: string, value: string][];
  /** Of a symlink its text; of a hardlink (whose numbers are all 0, without xattrs) the path of the first name, which comes earlier. */
  target?: string;
  /** Of char and block: major and minor. char 0/0 is a whiteout. */
  rdev?: [major: number, minor: number];
  /** Of a file: its length in bytes. */
  size?: number;
  /** Of a sparse file: where its data lies, sorted, not touching. Absent: all of it is data. */
  extents?: [offset: number, length: number][];
}

/** The attribute that makes a folder of a layer hide the folders below it. */
export const opaqueXattr = 'trusted.overlay.opaque';
/** Attributes of this name space steer overlayfs; of them only the opaque mark is ever carried. */
export const overlayXattrPrefix = 'trusted.overlay.';

/**
 * What overlayfs notes for itself in an upper. It says nothing about the tree, so readers leave it out
 * of an upper that is given as a layer.
 */
export const overlayNotes: ReadonlySet<string> = new Set(
  ['origin', 'impure', 'uuid', 'nlink'].map((name) => overlayXattrPrefix + name),
);

/** True for the deletion mark of overlayfs: a char device 0/0. */
export function isWhiteout(entry: Entry): boolean {
  return entry.type === 'char' && entry.rdev?.[0] === 0 && entry.rdev[1] === 0;
}

/** True for a folder that hides the content of the folders below it. */
export function isOpaque(entry: Entry): boolean {
  return entry.type === 'dir' && entry.xattrs.some(([name]) => name === opaqueXattr);
}

/** The data extents of a file, written out: absent ones become the whole file. */
export function extentsOf(entry: Entry): readonly (readonly [offset: number, length: number])[] {
  if (entry.type !== 'file') return [];
  if (entry.extents !== undefined) return entry.extents;
  const size = entry.size ?? 0;
  return size === 0 ? [] : [[0, size]];
}

/** The number of data bytes that follow an entry in the entry stream (holes do not count). */
export function dataBytes(entry: Entry): number {
  if (entry.type !== 'file') return 0;
  if (entry.extents === undefined) return entry.size ?? 0;
  let sum = 0;
  for (const [, length] of entry.extents) sum += length;
  return sum;
}

/** A path as it may stand in a message: escaped and cut. */
export function shownPath(path: string): string {
  const text = path === '' ? '/' : path;
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}
