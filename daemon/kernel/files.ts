import { randomBytes } from 'node:crypto';
import { constants, readdirSync } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failedWith, KernelError } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const flock = declareInt('flock', ['int', 'int']);
const fallocate = declareInt('fallocate', ['int', 'int', 'i64', 'i64']);
const syncfs = declareInt('syncfs', ['int']);

/** flock(2): exclusive, and answer at once. */
const LOCK_EX_NB = 2 | 4;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const OLD_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Makes the names in the folder durable. A failure is final: the change that needed it must fail. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, OLD_FOLDER);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a file's bytes durable by its descriptor. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What a file is called until `writeDurably` gives it its name. */
const asidePrefix = '.new-';
const asideName = /^\.new-[0-9a-f]{16}$/;

/**
 * Removes what a crash left of files that `writeDurably` was writing in the folder: they never got their name. Only
 * while nobody writes there. A missing folder is fine.
 */
export async function removeAsides(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  });
  for (const name of names.filter((one) => asideName.test(one))) await unlink(join(folder, name));
}

/**
 * Replaces the file by `bytes`, so that after a power cut it holds the old bytes or the new ones: write aside,
 * fsync, rename, fsync the folder. When anything fails the old file stands and nothing is left beside it.
 */
export async function writeDurably(
  path: string,
  bytes: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const aside = join(dirname(path), `${asidePrefix}${randomBytes(8).toString('hex')}`);
  try {
    const handle = await open(aside, NEW_FILE, mode);
    try {
      await handle.chmod(mode);
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
  } catch (error) {
    await unlink(aside).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes the folder, durably, unless it is there; a link or a file in its place is an error (ENOTDIR). */
export async function ensureFolder(path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
    if (!(await lstat(path)).isDirectory()) throw new KernelError('mkdir', 'ENOTDIR', path);
    return;
  }
  await syncFolder(dirname(path));
}

/** Renames a file or folder durably: both parents are synced. The file's own bytes must be synced already. */
export async function moveDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
  if (dirname(from) !== dirname(to)) await syncFolder(dirname(from));
}

/** Removes one file durably; absent is fine. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return;
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Overwrites a small file of ours with zeros where it lies, durably, then removes it; absent is fine. A disk that writes elsewhere by itself (flash, a
 * file system that copies on write) may keep the old bytes: no program can reach those.
 */
export async function destroyFile(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      const { size } = await handle.stat();
      await handle.write(Buffer.alloc(size), 0, size, 0);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return;
    throw error;
  }
  await removeFile(path);
}

/** Removes an empty folder durably; absent is fine. */
export async function removeFolder(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return;
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Names of what is of this type in the folder at `path`, sorted; none when there is no such folder. */
export function namesOf(path: string, type: 'file' | 'folder'): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => (type === 'file' ? entry.isFile() : entry.isDirectory()))
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return [];
    throw error;
  }
}

/** True when the path exists, as anything; a link counts by itself. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/**
 * Takes the lock file at `path` for the life of the returned descriptor, or undefined when another process
 * holds it. The kernel drops it with the process, so a crash leaves no stale lock.
 */
export async function lockFile(path: string): Promise<Fd | undefined> {
  const handle = await open(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    flock(handle.fd, LOCK_EX_NB);
    // FileHandle would close the descriptor when collected: keep the lock on one that has only our owner.
    return dupOf(handle.fd, `lock ${path}`);
  } catch (error) {
    if (failedWith(error, 'EAGAIN')) return undefined;
    throw error;
  } finally {
    await handle.close();
  }
}

const fcntl = declareInt('fcntl', ['int', 'int', 'i64']);
/** F_DUPFD_CLOEXEC of include/uapi/linux/fcntl.h. */
const F_DUPFD_CLOEXEC = 1030;

/** A second descriptor of the same open file, closed on exec. */
export function dupOf(number: number, what: string): Fd {
  return new Fd(fcntl(number, F_DUPFD_CLOEXEC, 3), what);
}

/**
 * Gives the file at `path` at least `bytes` of disk blocks of its own, durably (the journal reserve, SECURITY 24).
 * Throws ENOSPC when the disk has not so much; where the file system cannot fallocate, writes zeros.
 */
export async function preallocate(path: string, bytes: number): Promise<void> {
  const handle = await open(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      await fallocate.laterSurely(handle.fd, 0, 0, bytes);
    } catch (error) {
      if (!failedWith(error, 'EOPNOTSUPP')) throw error;
      const zeros = Buffer.alloc(1 << 20);
      const { size } = await handle.stat();
      for (let at = size; at < bytes; at += zeros.length) {
        await handle.write(zeros, 0, Math.min(zeros.length, bytes - at), at);
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncFolder(dirname(path));
}

/** Flushes the whole file system of an open file or folder, now. For children: it may take long. */
export function syncFileSystemOf(file: Fd): void {
  syncfs(file.number);
}

/** Flushes the whole file system that `path` lies on, in the thread pool. */
export async function syncFileSystem(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await syncfs.later(handle.fd);
  } finally {
    await handle.close();
  }
}
