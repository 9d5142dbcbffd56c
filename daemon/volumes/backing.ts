import { constants, openSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import { Fd } from '../kernel/fd.ts';
import { extentsOf, freeRange, ownRange, type Range, sizeOf } from '../kernel/file-blocks.ts';
import { joined, outside, total } from './ranges.ts';

/** Blocks are taken in pieces of this size, so that a change can be aborted between two. */
const STEP = 1024 ** 3;

/** Opens an image for work on its blocks. */
export function openImage(path: string): Fd {
  return new Fd(openSync(path, constants.O_RDWR | constants.O_NOFOLLOW), path);
}

/** Sets aside the blocks of these pieces of the image; what has its own already keeps them. Throws ENOSPC. */
export async function own(image: Fd, ranges: readonly Range[], signal: AbortSignal): Promise<void> {
  for (const { at, bytes } of ranges)
    for (let done = 0; done < bytes; done += STEP) {
      signal.throwIfAborted();
      await ownRange(image, { at: at + done, bytes: Math.min(STEP, bytes - done) });
    }
}

/** Gives the blocks of these pieces back to the file system that the image lies on. */
export async function giveBack(image: Fd, ranges: readonly Range[]): Promise<void> {
  for (const range of ranges) await freeRange(image, range);
}

/** As `own`, as far as there is room and time. */
export async function ownWhatGoes(
  image: Fd,
  ranges: readonly Range[],
  signal: AbortSignal,
): Promise<void> {
  try {
    await own(image, ranges, signal);
  } catch (error) {
    if (!signal.aborted && !failedWith(error, 'ENOSPC', 'EDQUOT')) throw error;
  }
}

/** Bytes of the image outside of `ballast` that own no block. Counted block by block where the file system tells, else by their number. */
export async function missingBytes(image: Fd, ballast: readonly Range[]): Promise<number> {
  const { bytes, ownedBytes } = sizeOf(image);
  const extents = await extentsOf(image);
  if (extents === undefined) return Math.max(0, bytes - total(ballast) - ownedBytes);
  const have = joined([...extents, ...ballast]);
  return total(outside(have, bytes));
}
