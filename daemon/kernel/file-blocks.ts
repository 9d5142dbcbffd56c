import { fstatSync } from 'node:fs';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const fallocate = declareInt('fallocate', ['int', 'int', 'i64', 'i64']);
const fiemap = declareInt('ioctl', ['int', 'u64', 'bytes']);
const flagsCall = declareInt('ioctl', ['int', 'u64', 'bytes']);
const syncFd = declareInt('fsync', ['int']);
const setLength = declareInt('ftruncate', ['int', 'i64']);

// linux/falloc.h
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
// linux/fiemap.h: struct fiemap is 32 bytes, struct fiemap_extent 56.
const FS_IOC_FIEMAP = 0xc020660b;
const HEAD = 32;
const EXTENT = 56;
const EXTENT_LAST = 1;
// linux/fs.h
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_NOCOW_FL = 0x00800000;
/** Extents asked for at a time. */
const EXTENTS = 512;

/** A piece of a file, or of the device below it. */
export interface Range {
  at: number;
  bytes: number;
}

/** A piece of a file that owns blocks: where it stands in the file, and where on the device. */
export interface Extent {
  at: number;
  on: number;
  bytes: number;
}

/**
 * The pieces of the file from `from` on that own blocks, written or only set aside, in the order of the file. Undefined where the file
 * system does not tell.
 */
export async function extentsOf(file: Fd, from = 0): Promise<Extent[] | undefined> {
  const found: Extent[] = [];
  for (let next = from, last = false; !last; ) {
    const map = Buffer.alloc(HEAD + EXTENTS * EXTENT);
    map.writeBigUInt64LE(BigInt(next), 0);
    map.writeBigUInt64LE(0xffffffffffffffffn - BigInt(next), 8);
    map.writeUInt32LE(EXTENTS, 24);
    try {
      await fiemap.laterSurely(file.number, FS_IOC_FIEMAP, map);
    } catch (error) {
      if (failedWith(error, 'EOPNOTSUPP', 'ENOTTY')) return undefined;
      throw error;
    }
    const count = map.readUInt32LE(20);
    for (let n = 0; n < count; n += 1) {
      const one = map.subarray(HEAD + n * EXTENT);
      const extent = {
        at: Number(one.readBigUInt64LE(0)),
        on: Number(one.readBigUInt64LE(8)),
        bytes: Number(one.readBigUInt64LE(16)),
      };
      found.push(clipped(extent, from));
      next = extent.at + extent.bytes;
      last = (one.readUInt32LE(40) & EXTENT_LAST) !== 0;
    }
    last ||= count === 0;
  }
  return found;
}

/** The kernel tells of whole extents, also of one that begins before what was asked for. */
function clipped({ at, on, bytes }: Extent, from: number): Extent {
  const before = Math.max(0, from - at);
  return { at: at + before, on: on + before, bytes: bytes - before };
}

/** Sets blocks aside for this piece of the file, whose length stays. Throws ENOSPC, or EOPNOTSUPP. */
export async function ownRange(file: Fd, { at, bytes }: Range): Promise<void> {
  await fallocate.later(file.number, KEEP_SIZE, at, bytes);
}

/** Gives the blocks of this piece of the file back: it reads as zeros. Throws EOPNOTSUPP. */
export async function freeRange(file: Fd, { at, bytes }: Range): Promise<void> {
  await fallocate.later(file.number, KEEP_SIZE | PUNCH_HOLE, at, bytes);
}

/**
 * Has each write of the file, which must be empty, go to the block that it has already, where the file system would take another
 * (btrfs). What others make of that, nothing at all, is fine: they write in place.
 */
export async function writeInPlace(file: Fd): Promise<void> {
  const flags = Buffer.alloc(8);
  try {
    await flagsCall.laterSurely(file.number, FS_IOC_GETFLAGS, flags);
    flags.writeUInt32LE((flags.readUInt32LE(0) | FS_NOCOW_FL) >>> 0, 0);
    await flagsCall.laterSurely(file.number, FS_IOC_SETFLAGS, flags);
  } catch (error) {
    if (!failedWith(error, 'EOPNOTSUPP', 'ENOTTY', 'EINVAL')) throw error;
  }
}

/** Lets the file grow to `bytes`, with blocks set aside for what it gains; a shorter length changes nothing. Throws ENOSPC. */
export async function growFile(file: Fd, bytes: number): Promise<void> {
  const { size } = fstatSync(file.number);
  if (bytes > size) await fallocate.later(file.number, 0, size, bytes - size);
}

/** Gives the file this length; what a longer one gains is a hole. */
export async function cutFile(file: Fd, bytes: number): Promise<void> {
  await setLength.later(file.number, bytes);
}

/** Makes what the file is durable. */
export async function syncBlocks(file: Fd): Promise<void> {
  await syncFd.later(file.number);
}

/** Length of the file, and bytes of the disk that it owns, with what its file system needs to find them. */
export function sizeOf(file: Fd): { bytes: number; ownedBytes: number } {
  const { size, blocks } = fstatSync(file.number);
  return { bytes: size, ownedBytes: blocks * 512 };
}
