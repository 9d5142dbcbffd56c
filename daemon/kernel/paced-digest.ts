import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { addressOf } from './libc.ts';

/** Bytes read at once. */
const PIECE_BYTES = 1 << 20;
/** No device wants larger alignment of memory, place and length for direct reads. */
const ALIGNMENT = 4096;

/** A file that has fewer bytes than it is said to have. */
export class TooShort extends Error {}

function alignedPiece(): Buffer {
  const memory = Buffer.alloc(PIECE_BYTES + ALIGNMENT);
  const start = (ALIGNMENT - Number(addressOf(memory) % BigInt(ALIGNMENT))) % ALIGNMENT;
  return memory.subarray(start, start + PIECE_BYTES);
}

/** Past the page cache, where the file system can: what is asked for is what the disk has, and programs keep what is cached. */
function openDirect(path: string): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
  try {
    return openSync(path, flags | constants.O_DIRECT);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    return openSync(path, flags);
  }
}

/**
 * SHA-256 of the first `bytes` of a file as the disk has them, at no more than `bytesPerSecond` (0: as fast as it goes).
 * Blocks between pieces: for a child of its own. Throws TooShort.
 */
export async function pacedDigest(
  path: string,
  bytes: number,
  bytesPerSecond: number,
  onBytes: (done: number) => void,
): Promise<string> {
  const file = openDirect(path);
  try {
    const hash = createHash('sha256');
    const piece = alignedPiece();
    for (let done = 0; done < bytes; ) {
      const startMs = performance.now();
      const left = bytes - done;
      const want = Math.min(PIECE_BYTES, Math.ceil(left / ALIGNMENT) * ALIGNMENT);
      const found = Math.min(readSync(file, piece, 0, want, done), left);
      if (found < Math.min(want, left)) throw new TooShort();
      hash.update(piece.subarray(0, found));
      done += found;
      onBytes(done);
      // Of each piece by itself: after a stop nothing is caught up with.
      const dueMs = bytesPerSecond > 0 ? (found / bytesPerSecond) * 1_000 : 0;
      const restMs = dueMs - (performance.now() - startMs);
      if (restMs >= 1) await pause(restMs);
    }
    return `sha256:${hash.digest('hex')}`;
  } finally {
    closeSync(file);
  }
}
