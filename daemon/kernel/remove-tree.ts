import { basename, dirname } from 'node:path';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { namesLater, OPEN, openBeneath, openFolder, renameIn, unlinkIn } from './openat.ts';

/** How long one slice of removing may hold the event loop. */
const SLICE_MS = 5;
/** Deeper folders are first moved up, so that a hostile depth cannot use up our descriptors. */
const DEPTH_MAX = 64;

interface Walk {
  top: Fd;
  moved: number;
  sliceEnd: number;
}

async function breathe(walk: Walk): Promise<void> {
  if (performance.now() < walk.sliceEnd) return;
  await new Promise((resolve) => setImmediate(resolve));
  walk.sliceEnd = performance.now() + SLICE_MS;
}

async function emptyFolder(walk: Walk, dir: Fd, depth: number): Promise<void> {
  for (const name of await namesLater(dir)) {
    await breathe(walk);
    try {
      unlinkIn(dir, name);
    } catch (error) {
      if (failedWith(error, 'ENOENT')) continue;
      if (!failedWith(error, 'EISDIR', 'EPERM')) throw error;
      await removeFolder(walk, dir, name, depth);
    }
  }
}

async function removeFolder(walk: Walk, dir: Fd, name: string, depth: number): Promise<void> {
  if (depth >= DEPTH_MAX) {
    // The outermost loop meets it again: each pass ends DEPTH_MAX levels.
    walk.moved += 1;
    renameIn(dir, name, walk.top, `.deep-${process.pid}-${walk.moved}`);
    return;
  }
  const child = openBeneath(dir, name, { flags: OPEN.folder, sameMount: true });
  try {
    await emptyFolder(walk, child, depth + 1);
  } finally {
    child.close();
  }
  unlinkIn(dir, name, true);
}

/**
 * Removes the folder at `path` (a path of ours) with all it holds, by descriptor: no link is followed and no
 * mount entered (EXDEV: something is still mounted inside, nothing below it is touched). Absent is fine.
 * Gives way to other work every few milliseconds. Not durable: sync the parent when that matters.
 */
export async function removeTree(path: string): Promise<void> {
  const parent = openFolder(dirname(path));
  try {
    const name = Buffer.from(basename(path)).toString('latin1');
    let top: Fd;
    try {
      top = openBeneath(parent, name, { flags: OPEN.folder, sameMount: true });
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return;
      if (!failedWith(error, 'ENOTDIR', 'ELOOP')) throw error;
      unlinkIn(parent, name);
      return;
    }
    try {
      const walk: Walk = { top, moved: 0, sliceEnd: performance.now() + SLICE_MS };
      let before: number;
      do {
        before = walk.moved;
        await emptyFolder(walk, top, 0);
      } while (walk.moved > before);
    } finally {
      top.close();
    }
    unlinkIn(parent, name, true);
  } finally {
    parent.close();
  }
}
