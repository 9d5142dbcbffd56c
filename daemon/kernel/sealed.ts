import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** One read or write; large enough that hashing, not calling, is the cost. */
const PIECE_BYTES = 1 << 20;

/** Makes a new file of the daemon's own, readable and writable through the handle only (0400 on disk). */
export async function createSealed(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return await open(path, flags, 0o400);
}

/** Opens a file of ours for reading; never through a link. */
export async function openSealed(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
}

/**
 * SHA-256 of `length` bytes from `offset` of the open file (all of it by default), read through this very
 * descriptor: what is hashed is what will be mounted, whatever happens to the name (SECURITY 10).
 * `onBytes` sees the count as it grows.
 */
export async function hashOf(
  handle: FileHandle,
  range: { offset?: number; length?: number } = {},
  onBytes: (done: number) => void = () => {},
): Promise<string> {
  const start = range.offset ?? 0;
  const length = range.length ?? (await handle.stat()).size - start;
  const hash: Hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(length, 1)));
  let done = 0;
  while (done < length) {
    const want = Math.min(piece.length, length - done);
    const { bytesRead } = await handle.read(piece, 0, want, start + done);
    if (bytesRead === 0) throw new Error('the file ends before its stated length');
    hash.update(piece.subarray(0, bytesRead));
    done += bytesRead;
    onBytes(done);
  }
  return `sha256:${hash.digest('hex')}`;
}
