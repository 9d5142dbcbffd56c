import { lstatSync } from 'node:fs';
import { failedWith } from './errno.ts';
import { preallocate } from './files.ts';

/** A start has no longer for the blocks of a volume; then it is as large as it came. */
const SET_ASIDE_MS = 30_000;
const SET_ASIDE_STEP = 1024 ** 3;

/** Bytes of the disk that the file owns. */
export function ownedBytes(path: string): number {
  return lstatSync(path).blocks * 512;
}

/**
 * Gives the image all its blocks (again): mkfs, and a kernel that was not told otherwise, give some back (SECURITY 25).
 * Returns what is missing, in bytes; nothing where all is well.
 */
export async function ownBlocks(path: string, bytes = lstatSync(path).size): Promise<number> {
  try {
    await setAside(path, bytes);
  } catch (error) {
    if (!failedWith(error, 'ENOSPC', 'EDQUOT')) throw error;
  }
  return Math.max(0, bytes - ownedBytes(path));
}

/**
 * Allocates blocks up to `bytes`, in steps. Where the file system knows no allocation zeros are written, which may take hours: the answer
 * is how far it came in the time that a start has.
 */
export async function setAside(path: string, bytes: number): Promise<number> {
  const until = performance.now() + SET_ASIDE_MS;
  let done = 0;
  while (done < bytes && (done === 0 || performance.now() < until)) {
    done = Math.min(bytes, done + SET_ASIDE_STEP);
    await preallocate(path, done);
  }
  return done;
}
