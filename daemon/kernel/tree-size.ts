import { lstatSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { namesLater, OPEN, openBeneath, openFolder } from './openat.ts';

/** What a tree takes on the disk. */
export interface TreeSize {
  /** Bytes of blocks; a file with several names counts once. */
  bytes: number;
  /** Names below the folder. */
  entries: number;
}

/** Deeper folders are not counted: what a program inside may make must not use up our descriptors. */
const DEPTH_MAX = 256;
/** Longest time without giving way to other work. */
const SLICE_MS = 10;

interface Count extends TreeSize {
  seen: Set<string>;
  sliceEnd: number;
}

/**
 * What the folder at `path` (a path of ours) takes on the disk. Goes by descriptor, follows no link and enters
 * no mount; what vanishes meanwhile is left out. An absent folder is empty.
 */
export async function treeSize(path: string): Promise<TreeSize> {
  const count: Count = {
    bytes: 0,
    entries: 0,
    seen: new Set(),
    sliceEnd: performance.now() + SLICE_MS,
  };
  try {
    const top = openFolder(path);
    try {
      await countFolder(count, top, 0);
    } finally {
      top.close();
    }
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
  return { bytes: count.bytes, entries: count.entries };
}

async function countFolder(count: Count, dir: Fd, depth: number): Promise<void> {
  for (const name of await namesLater(dir)) {
    try {
      await countName(count, dir, name, depth);
    } catch (error) {
      if (!failedWith(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) throw error;
    }
    if (performance.now() < count.sliceEnd) continue;
    await breathe();
    count.sliceEnd = performance.now() + SLICE_MS;
  }
}

async function countName(count: Count, dir: Fd, name: string, depth: number): Promise<void> {
  const stat = lstatSync(Buffer.from(`${dir.path}/${name}`, 'latin1'));
  count.entries += 1;
  const id = `${stat.dev}:${stat.ino}`;
  if (stat.isDirectory() || stat.nlink < 2 || !count.seen.has(id)) count.bytes += stat.blocks * 512;
  if (!stat.isDirectory()) {
    if (stat.nlink > 1) count.seen.add(id);
    return;
  }
  if (depth >= DEPTH_MAX) return;
  const inside = openBeneath(dir, name, { flags: OPEN.folder, sameMount: true });
  try {
    await countFolder(count, inside, depth + 1);
  } finally {
    inside.close();
  }
}
