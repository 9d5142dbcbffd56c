import { setImmediate as turn } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { cBytes, namesIn, OPEN, openBeneath } from './openat.ts';

const AT_SYMLINK_NOFOLLOW = 0x100;
/** STATX_TYPE, MODE, NLINK, INO and BLOCKS of linux/stat.h. */
const MASK = 0x1 | 0x2 | 0x4 | 0x100 | 0x400;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const SLICE_MS = 5;
/** A folder below this depth counts as itself only: each level holds a descriptor. */
const DEPTH_MAX = 128;

const statx = declareInt('statx', ['int', 'bytes', 'int', 'uint', 'bytes']);

interface Count {
  bytes: number;
  /** Inodes with several names, counted once. */
  linked: Set<bigint>;
  sliceEnd: number;
}

async function countFolder(dir: Fd, count: Count, depth: number): Promise<void> {
  const out = Buffer.alloc(256);
  for (const name of namesIn(dir)) {
    if (performance.now() > count.sliceEnd) {
      await turn();
      count.sliceEnd = performance.now() + SLICE_MS;
    }
    try {
      statx(dir.number, cBytes(name), AT_SYMLINK_NOFOLLOW, MASK, out);
      const isFolder = (out.readUInt16LE(28) & S_IFMT) === S_IFDIR;
      const inode = out.readBigUInt64LE(32);
      if (!isFolder && out.readUInt32LE(16) > 1) {
        if (count.linked.has(inode)) continue;
        count.linked.add(inode);
      }
      count.bytes += Number(out.readBigUInt64LE(48)) * 512;
      if (!isFolder || depth >= DEPTH_MAX) continue;
      using child = openBeneath(dir, name, { flags: OPEN.folder, sameMount: true });
      await countFolder(child, count, depth + 1);
    } catch (error) {
      if (!failedWith(error, 'ENOENT', 'ELOOP', 'ENOTDIR', 'EXDEV')) throw error; // changed meanwhile
    }
  }
}

/** Bytes of disk that a folder takes with all below it, each inode once. Gives way to other work every few milliseconds. */
export async function treeSize(folder: Fd): Promise<number> {
  const count: Count = { bytes: 0, linked: new Set(), sliceEnd: performance.now() + SLICE_MS };
  await countFolder(folder, count, 0);
  return count.bytes;
}
