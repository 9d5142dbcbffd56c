import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { attach, changeMount, cloneTree, unmount, unmountHeld } from './mounts.ts';
import { statMount } from './stat-mount.ts';

/**
 * How a slot's tree is replaced with no moment in which the path is empty: `beneath` (the new mount is slipped
 * under the old one, then the old one is taken off; Linux 6.5) or `symlink` (the path is a symbolic link, replaced by rename).
 * Mounting over the old tree is never used: the hidden tree could not be released.
 */
export type FlipWay = 'beneath' | 'symlink';

/** The name below the anchor that users open. */
export const TREE = 'root';
/** Folder of the anchor that holds the trees of the `symlink` way. */
const TREES = '.trees';
/** Whoever the anchor lets in passes on to the tree. */
const PASSABLE = 0o711;
/** A path walk that has read the old link must end before the old mount goes: far longer than any walk takes. */
const WALK_GRACE_MS = 1_000;

/** What the anchor shows now. */
export interface Shown {
  /** Real place of the tree: the anchor's `root`, or what the link there names. */
  at: string;
  mountId: number;
  device: string;
}

export interface Flipped {
  /** The replaced tree, kept alive by this detached copy, and its device; absent when the slot was empty. */
  old?: Fd;
  oldDevice?: string;
  /** Ends when the old attachment is gone for all. The path shows the new tree already before. */
  settled: Promise<void>;
}

/** The tree an anchor shows, or undefined when it shows none. */
export function shownTree(anchor: string): Shown | undefined {
  let at = `${anchor}/${TREE}`;
  try {
    let stat = statMount(at);
    if ((stat.mode & constants.S_IFMT) === constants.S_IFLNK) {
      at = `${anchor}/${readlinkSync(at)}`;
      stat = statMount(at);
    }
    return stat.isMountRoot ? { at, mountId: stat.mountId, device: stat.device } : undefined;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Shows `tree` (a detached mount) at the anchor's `root` in place of what is there; `tree` then refers to the attached mount.
 * Resolves once the path shows the new tree. A failure before that leaves the old tree standing.
 */
export async function flip(anchor: string, tree: Fd, way: FlipWay): Promise<Flipped> {
  const now = shownTree(anchor);
  // With what may be mounted inside: it stays with the old tree, and nothing of it is flushed now.
  const old = now === undefined ? undefined : cloneTree(now.at, { recursive: true });
  let settled: Promise<void> = Promise.resolve();
  try {
    if (way === 'symlink') settled = (await flipLink(anchor, tree, now))();
    else if (now === undefined) fill(anchor, tree);
    else flipBeneath(tree, now);
  } catch (error) {
    await old?.closeLater();
    throw error;
  }
  settled.catch(() => undefined); // the caller awaits it later; until then it must not count as unhandled
  return { ...(old && now && { old, oldDevice: now.device }), settled };
}

function fill(anchor: string, tree: Fd): void {
  const place = `${anchor}/${TREE}`;
  mkdirSync(place, { recursive: true, mode: 0o755 });
  attach(tree, place);
  changeMount(tree, { propagation: 'private' });
}

function flipBeneath(tree: Fd, now: Shown): void {
  attach(tree, now.at, { beneath: true });
  // Under a shared anchor the new mount is shared until the umount: that carries it to other namespaces.
  unmountHeld(now.at);
  changeMount(tree, { propagation: 'private' });
}

/** Resolves with what is left to do once the link shows the new tree. */
async function flipLink(
  anchor: string,
  tree: Fd,
  now: Shown | undefined,
): Promise<() => Promise<void>> {
  // A name that never comes again: the old tree is taken off by its name a while later.
  const target = `${TREES}/${randomBytes(6).toString('hex')}`;
  mkdirSync(`${anchor}/${target}`, { recursive: true });
  chmodSync(`${anchor}/${TREES}`, PASSABLE); // whatever our umask is
  attach(tree, `${anchor}/${target}`);
  const link = `${anchor}/${TREE}`;
  // Of a slot that was empty, or was used the other way.
  if (now === undefined) clearName(link);
  try {
    changeMount(tree, { propagation: 'private' });
    symlinkSync(target, `${link}.new`);
    renameSync(`${link}.new`, link);
  } catch (error) {
    await takeOff(`${anchor}/${target}`);
    throw error;
  }
  return async () => {
    if (now === undefined) return;
    await pause(WALK_GRACE_MS);
    await takeOff(now.at);
  };
}

function clearName(link: string): void {
  try {
    if (lstatSync(link).isDirectory()) rmdirSync(link);
    else unlinkSync(link);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

async function takeOff(place: string): Promise<void> {
  await unmount(place, { detach: true });
  rmdirSync(place);
}

/** Takes off trees of the `symlink` way that a crash has left behind the link. What the anchor shows stays. */
export async function sweepTrees(anchor: string): Promise<void> {
  const shown = shownTree(anchor)?.at;
  let names: string[] = [];
  try {
    names = readdirSync(`${anchor}/${TREES}`);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
  for (const name of names) {
    const place = `${anchor}/${TREES}/${name}`;
    if (place === shown) continue;
    if (statMount(place).isMountRoot) await takeOff(place);
    else rmdirSync(place);
  }
}

/**
 * Takes the tree off the anchor; the path is an empty folder (or gone) afterwards.
 * Returns a detached copy that keeps the tree alive, or undefined when there was none.
 */
export async function clearTree(anchor: string): Promise<Fd | undefined> {
  const now = shownTree(anchor);
  if (now === undefined) return undefined;
  const old = cloneTree(now.at, { recursive: true });
  try {
    await unmount(now.at, { detach: true });
  } catch (error) {
    await old.closeLater();
    throw error;
  }
  return old;
}

/**
 * Makes `anchor` (a folder) a mount of its own that is shared, so that namespaces made later see each flip. It leaves the
 * peers of the mount that it is a copy of: under a shared /run every tree would appear there a second time. Safe to repeat.
 */
export function makeAnchor(anchor: string): void {
  if (!statMount(anchor).isMountRoot) {
    const self = cloneTree(anchor);
    try {
      changeMount(self, { nosuid: true, nodev: true, noexec: true, propagation: 'private' });
      attach(self, anchor);
    } finally {
      self.close();
    }
  }
  changeMount(anchor, { propagation: 'shared' });
}

/** Takes an anchor off again. Safe to repeat. */
export async function removeAnchor(anchor: string): Promise<void> {
  for (let limit = 0; limit < 8 && statMount(anchor).isMountRoot; limit += 1) {
    await unmount(anchor, { detach: true });
  }
  if (statMount(anchor).isMountRoot) throw new KernelError('umount2', 'EBUSY', anchor);
}
