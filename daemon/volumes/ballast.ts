import { constants, lstatSync, openSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import { Fd } from '../kernel/fd.ts';
import {
  cutFile,
  extentsOf,
  growFile,
  type Range,
  sizeOf,
  syncBlocks,
} from '../kernel/file-blocks.ts';
import { joined } from './ranges.ts';

/** Blocks are taken in pieces of this size, so that a change can be aborted between two. */
const STEP = 1024 ** 3;

function open(path: string, flags: number): Fd {
  return new Fd(openSync(path, flags | constants.O_NOFOLLOW, 0o600), path);
}

/** Length of the ballast. Throws ENOENT where there is none. */
export function ballastBytes(path: string): number {
  return lstatSync(path).size;
}

/** Where the blocks of the ballast from its byte `from` on stand in the image, in order. */
export async function ballastRanges(path: string, from = 0): Promise<Range[]> {
  using file = open(path, constants.O_RDONLY);
  const extents = await extentsOf(file, from);
  if (extents === undefined) throw new Error(`${path} does not tell where its blocks are`);
  return joined(extents.map(({ on, bytes }) => ({ at: on, bytes })));
}

/**
 * Makes the ballast `bytes` long, of blocks that nothing else in the volume uses; durable before it returns. Never shortens it. Throws
 * ENOSPC when the volume has not so many.
 */
export async function fillBallast(path: string, bytes: number, signal: AbortSignal): Promise<void> {
  using file = open(path, constants.O_RDWR | constants.O_CREAT);
  for (let done = sizeOf(file).bytes; done < bytes; ) {
    signal.throwIfAborted();
    done = Math.min(bytes, done + STEP);
    await growFile(file, done);
  }
  await syncBlocks(file);
}

/** Makes the ballast `bytes` long and gives the blocks behind that to the volume; durable before it returns. Never lengthens it. */
export async function releaseBallast(path: string, bytes: number): Promise<void> {
  try {
    using file = open(path, constants.O_RDWR);
    if (sizeOf(file).bytes > bytes) await cutFile(file, bytes);
    await syncBlocks(file);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}
