import { fstatSync, readSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';

/** Bytes at known positions: a file, or a window of one. Reads block: readers run in a child. */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes at `offset`. The buffer stays valid, but may be shared: not to be written.
   * @throws PersonaError 'bad-archive' when that reaches over the end.
   */
  read(offset: number, length: number): Buffer;
}

/** Small reads are served from a window of this many bytes: headers of small files lie close. */
const windowBytes = 64 * 1024;
/** Reads up to this length go through the window. */
const smallBytes = 8 * 1024;
/** One piece of content on its way out. */
export const pieceBytes = 256 * 1024;

/**
 * The bytes of an open file (or block device when `size` is given), from `offset` on.
 * The descriptor stays the caller's; its own position is neither used nor moved.
 */
export function fileSource(fd: number, offset = 0, size?: number): ByteSource {
  const length = size ?? Math.max(0, fstatSync(fd).size - offset);
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  const read = (at: number, wanted: number): Buffer => {
    checkRange(at, wanted, length);
    if (wanted > smallBytes) return readExactly(fd, offset + at, wanted);
    if (at < windowStart || at + wanted > windowStart + window.length) {
      // A new buffer each time: pieces of the old one may still be in use.
      window = readExactly(fd, offset + at, Math.min(windowBytes, length - at));
      windowStart = at;
    }
    return window.subarray(at - windowStart, at - windowStart + wanted);
  };
  return { size: length, read };
}

/** Windows kept by a cached source. */
const cachedWindows = 64;

/** Another source behind a small cache, for readers that jump between tables. */
export function cachedSource(source: ByteSource): ByteSource {
  const windows = new Map<number, Buffer>();
  const read = (at: number, wanted: number): Buffer => {
    checkRange(at, wanted, source.size);
    const start = at - (at % windowBytes);
    if (at + wanted > start + windowBytes) return source.read(at, wanted);
    const window =
      windows.get(start) ?? source.read(start, Math.min(windowBytes, source.size - start));
    // Last used last: the first key is the one to forget.
    windows.delete(start);
    windows.set(start, window);
    if (windows.size > cachedWindows) windows.delete(windows.keys().next().value as number);
    return window.subarray(at - start, at - start + wanted);
  };
  return { size: source.size, read };
}

/** A window of another source. */
export function sliceSource(source: ByteSource, offset: number, size: number): ByteSource {
  checkRange(offset, size, source.size);
  const read = (at: number, wanted: number): Buffer => {
    checkRange(at, wanted, size);
    return source.read(offset + at, wanted);
  };
  return { size, read };
}

/** Bytes in memory as a source. */
export function bufferSource(bytes: Buffer): ByteSource {
  const read = (at: number, wanted: number): Buffer => {
    checkRange(at, wanted, bytes.length);
    return bytes.subarray(at, at + wanted);
  };
  return { size: bytes.length, read };
}

/** The bytes of one range, in pieces. */
export async function* sourceBytes(
  source: ByteSource,
  offset = 0,
  length = source.size - offset,
): AsyncGenerator<Buffer> {
  for (let done = 0; done < length; ) {
    const piece = source.read(offset + done, Math.min(pieceBytes, length - done));
    yield piece;
    done += piece.length;
  }
}

function checkRange(offset: number, length: number, size: number): void {
  if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
    throw new PersonaError('bad-archive', 'it is cut off: its end is missing');
  }
}

function readExactly(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let done = 0; done < length; ) {
    const got = readSync(fd, bytes, done, length - done, offset + done);
    if (got === 0) throw new PersonaError('bad-archive', 'it became shorter while it was read');
    done += got;
  }
  return bytes;
}
