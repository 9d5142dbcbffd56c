import { chmodSync, constants, opendirSync, readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { failedWith, withDetail } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt, declareSyscall } from './libc.ts';

/** openat2(2), added in Linux 5.6; struct open_how is three u64: flags, mode, resolve. */
const openat2 = declareSyscall('openat2', 437, ['int', 'bytes', 'bytes', 'u64']);
const unlinkat = declareInt('unlinkat', ['int', 'bytes', 'int']);
const renameat = declareInt('renameat', ['int', 'bytes', 'int', 'bytes']);
const mkdirat = declareInt('mkdirat', ['int', 'bytes', 'uint']);
const symlinkat = declareInt('symlinkat', ['bytes', 'int', 'bytes']);
const linkat = declareInt('linkat', ['int', 'bytes', 'int', 'bytes', 'int']);

/** RESOLVE_* of include/uapi/linux/openat2.h. */
const NO_XDEV = 0x01;
const NO_MAGICLINKS = 0x02;
const NO_SYMLINKS = 0x04;
const BENEATH = 0x08;
const IN_ROOT = 0x10;
const OPEN_HOW_BYTES = 24;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const AT_FDCWD = -100;
const AT_REMOVEDIR = 0x200;
/** Names that are listed without giving way to other work: some milliseconds. */
const NAMES_PIECE = 1_024;
/** The kernel answers EAGAIN when a rename raced with "..": it asks for another try. */
const RACE_RETRIES_MAX = 128;

/** open(2) flags that callers combine. */
export const OPEN = {
  read: constants.O_RDONLY | constants.O_NOFOLLOW,
  folder: constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
  path: O_PATH,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
  /** A FIFO or a device must not hold up, or be triggered by, the one who only looks. */
  nonBlocking: constants.O_NONBLOCK | constants.O_NOCTTY,
  noAtime: 0o1000000,
} as const;

/** A byte string (one char = one byte) as C reads it. Throws on a NUL byte inside. */
export function cBytes(text: string): Buffer {
  if (text.includes('\0')) throw new Error('internal error: a name with a NUL byte');
  return Buffer.from(`${text}\0`, 'latin1');
}

function openResolved(dir: number, path: string, flags: number, mode: number, resolve: number) {
  const how = Buffer.alloc(OPEN_HOW_BYTES);
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  const name = cBytes(path === '' ? '.' : path);
  for (let tries = 0; ; tries += 1) {
    try {
      return new Fd(openat2(dir, name, how, OPEN_HOW_BYTES), path);
    } catch (error) {
      if (failedWith(error, 'EAGAIN') && tries < RACE_RETRIES_MAX) continue;
      throw withDetail(error, path);
    }
  }
}

/** How `openBeneath` opens. */
export interface BeneathOptions {
  /** Of OPEN, combined; default: read. */
  flags?: number;
  /** Permission bits of a created file. */
  mode?: number;
  /** Refuse (EXDEV) to enter another mount. */
  sameMount?: boolean;
}

/**
 * Opens `path` (a byte string) below `dir`, following no link of any kind and never leaving `dir`: the way
 * to write into, and to walk, a tree that others can change meanwhile (SECURITY 11).
 * Throws KernelError: ELOOP at a link, EXDEV on the way out.
 */
export function openBeneath(dir: Fd, path: string, options: BeneathOptions = {}): Fd {
  const resolve =
    BENEATH | NO_SYMLINKS | NO_MAGICLINKS | (options.sameMount === true ? NO_XDEV : 0);
  return openResolved(dir.number, path, options.flags ?? OPEN.read, options.mode ?? 0, resolve);
}

/**
 * Opens `path` as a process with root directory `dir` would: links are followed, but absolute ones and `..`
 * stay inside; /proc's magic links are refused. The way to read a persona's tree.
 */
export function openInRoot(dir: Fd, path: string, flags: number = constants.O_RDONLY): Fd {
  return openResolved(dir.number, path, flags, 0, IN_ROOT | NO_MAGICLINKS);
}

/** Opens a folder by a trusted path of ours (no link as its last component). */
export function openFolder(path: string): Fd {
  return openResolved(AT_FDCWD, Buffer.from(path).toString('latin1'), OPEN.folder, 0, 0);
}

/** Opens a file of ours for reading by a trusted path (no link as its last component). */
export function openFile(path: string, flags: number = OPEN.read, mode = 0): Fd {
  return openResolved(AT_FDCWD, Buffer.from(path).toString('latin1'), flags, mode, 0);
}

/** The names in an open folder, as byte strings, in no order. */
export function namesIn(dir: Fd): string[] {
  return readdirSync(dir.path, { encoding: 'latin1' });
}

/** The same of a folder that others fill: gives way to other work, however many there are. */
export async function namesLater(dir: Fd): Promise<string[]> {
  const folder = opendirSync(dir.path, { encoding: 'latin1', bufferSize: NAMES_PIECE });
  try {
    const names: string[] = [];
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
      names.push(entry.name);
      if (names.length % NAMES_PIECE === 0) await turn();
    }
    return names;
  } finally {
    folder.closeSync();
  }
}

/** The same as `namesIn`, each with whether it is a folder. */
export function entriesIn(dir: Fd): { name: string; isFolder: boolean }[] {
  return readdirSync(dir.path, { encoding: 'latin1', withFileTypes: true }).map((entry) => ({
    name: entry.name,
    isFolder: entry.isDirectory(),
  }));
}

/** Removes one name of `dir`: a file or, with `folder`, an empty folder. Never follows a link. */
export function unlinkIn(dir: Fd, name: string, folder = false): void {
  unlinkat(dir.number, cBytes(name), folder ? AT_REMOVEDIR : 0);
}

/** Renames `name` of `from` to `newName` of `to`. Neither may hold a slash. */
export function renameIn(from: Fd, name: string, to: Fd, newName: string): void {
  renameat(from.number, cBytes(name), to.number, cBytes(newName));
}

/** Sets the mode of the file or folder `name` of `dir`, also of one that cannot be opened. */
export function chmodIn(dir: Fd, name: string, mode: number): void {
  using place = openBeneath(dir, name, { flags: constants.O_NOFOLLOW | O_PATH, sameMount: true });
  chmodSync(place.path, mode);
}

/** Makes the folder `name` in `dir`. */
export function makeFolderIn(dir: Fd, name: string, mode: number): void {
  mkdirat(dir.number, cBytes(name), mode);
}

/** Opens the folder `path` (a byte string) below `dir`, following no link. What is missing of it is made, for its owner alone. */
export function openOrMakeFolder(dir: Fd, path: string): Fd {
  try {
    return openBeneath(dir, path, { flags: OPEN.folder });
  } catch (error) {
    if (!failedWith(error, 'ENOENT') || path === '') throw error;
  }
  const slash = path.lastIndexOf('/');
  using above = openOrMakeFolder(dir, path.slice(0, Math.max(slash, 0)));
  makeFolderIn(above, path.slice(slash + 1), 0o700);
  return openBeneath(above, path.slice(slash + 1), { flags: OPEN.folder });
}

/** Makes the symbolic link `name` in `dir`. */
export function symlinkIn(target: string, dir: Fd, name: string): void {
  symlinkat(cBytes(target), dir.number, cBytes(name));
}

/** Gives the file `name` of `from` (a link is itself) the further name `newName` in `to`. */
export function linkIn(from: Fd, name: string, to: Fd, newName: string): void {
  linkat(from.number, cBytes(name), to.number, cBytes(newName), 0);
}
