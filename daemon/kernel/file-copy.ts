import { fchmodSync, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { ContentDigest } from './content-digest.ts';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { setChangeTime } from './file-times.ts';
import { dataRanges } from './sparse.ts';
import { readXattrsOf, writeXattr } from './xattrs.ts';

const PIECE_BYTES = 1 << 20;
/** More holes than that are written as zeros. */
const RANGES_MAX = 4096;
// One for the life of the process: copying is synchronous.
const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

const PAGE = 4096;

/** Where the content lies, in whole pages. */
function pagesOf(file: Fd): { size: number; ranges: (readonly [start: number, end: number])[] } {
  const { size, blocks } = fstatSync(file.number);
  if (blocks * 512 >= size) return { size, ranges: [[0, size]] };
  const ranges: [number, number][] = [];
  for (const [offset, length] of dataRanges(file.number, size, RANGES_MAX)) {
    const start = offset - (offset % PAGE);
    const end = Math.min(size, Math.ceil((offset + length) / PAGE) * PAGE);
    const before = ranges.at(-1);
    if (before !== undefined && before[1] >= start) before[1] = end;
    else ranges.push([start, end]);
  }
  return { size, ranges };
}

/** Reads what an open file holds, piece by piece, without its holes. Returns its size. Throws ESTALE when it shrinks meanwhile. */
function readContent(file: Fd, take: (bytes: Buffer, offset: number) => void): number {
  const { size, ranges } = pagesOf(file);
  for (const [start, end] of ranges) {
    for (let at = start; at < end; ) {
      const wanted = Math.min(PIECE_BYTES, end - at);
      let got = 0;
      while (got < wanted) {
        const more = readSync(file.number, piece, got, wanted - got, at + got);
        if (more === 0) throw new KernelError('read', 'ESTALE', file.what);
        got += more;
      }
      take(piece.subarray(0, got), at);
      at += got;
    }
  }
  return size;
}

/** What was copied. */
export interface Copied {
  size: number;
  /** As `digestOfContent` gives it. */
  digest: string;
}

/**
 * Copies what an open file holds into an open empty one, with its holes. Not durable.
 * @param check is asked before each piece; what it throws ends the copy.
 */
export function copyContent(from: Fd, to: Fd, check: () => void = () => undefined): number {
  const size = readContent(from, (bytes, offset) => {
    check();
    for (let put = 0; put < bytes.length; )
      put += writeSync(to.number, bytes, put, bytes.length - put, offset + put);
  });
  ftruncateSync(to.number, size);
  return size;
}

/** The same, and what the content is known by. */
export function copyWithDigest(from: Fd, to: Fd): Copied {
  const digest = new ContentDigest();
  const size = readContent(from, (bytes, offset) => {
    digest.add(bytes, offset);
    for (let put = 0; put < bytes.length; )
      put += writeSync(to.number, bytes, put, bytes.length - put, offset + put);
  });
  ftruncateSync(to.number, size);
  return { size, digest: digest.end(size) };
}

/** What the content of an open file is known by. */
export function digestOfContent(file: Fd): string {
  const digest = new ContentDigest();
  const size = readContent(file, (bytes, offset) => digest.add(bytes, offset));
  return digest.end(size);
}

/** Attributes that only the kernel or root sets. */
const NOT_OURS = /^(security|trusted)\./;

/** What `copyMetadata` gives a copy of this file. That its owner may read it counts as given. */
export function metadataOf(file: Fd): unknown[] {
  const { mode, mtimeNs } = fstatSync(file.number, { bigint: true });
  const attributes = readXattrsOf(file).filter(([key]) => !NOT_OURS.test(key));
  return [Number(mode & 0o7777n) | 0o400, String(mtimeNs), attributes];
}

/**
 * Gives the copy `name` in `dir` the mode, the attributes and the time of the original. As a user: of this user's own files.
 * @param attributes `possible`: those of a kind that the file system of the copy does not keep are left out
 */
export function copyMetadata(
  from: Fd,
  to: Fd,
  dir: Fd,
  name: string,
  attributes: 'all' | 'possible' = 'all',
): void {
  const { mode, mtimeNs } = fstatSync(from.number, { bigint: true });
  // Only who may write a file gives it `user.*`: before `system.*`, which has access lists, and before the mode.
  for (const [key, value] of readXattrsOf(from).toReversed()) {
    if (NOT_OURS.test(key)) continue;
    try {
      writeXattr(`${dir.path}/${name}`, key, value);
    } catch (error) {
      if (attributes === 'all' || !failedWith(error, 'EOPNOTSUPP')) throw error;
    }
  }
  fchmodSync(to.number, Number(mode & 0o7777n));
  setChangeTime(dir, name, mtimeNs);
}
