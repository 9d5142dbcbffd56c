import { fstatSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { copyContent, copyMetadata } from '../kernel/file-copy.ts';
import { isOpenForWriting } from '../kernel/file-writers.ts';
import { chmodIn, namesIn, OPEN, openBeneath, unlinkIn } from '../kernel/openat.ts';
import { type TreeEvent, TreeWatch } from '../kernel/tree-watch.ts';
import { forgetGone, type Now } from './delta.ts';
import { seenIn } from './folder-disk.ts';

/** A folder with more names is not served from memory. */
const NAMES_MAX = 500_000;
const DEPTH_MAX = 128;
const READ = OPEN.read | OPEN.nonBlocking;
/** What was changed a shorter time ago may be changed again without a later time to tell of it. */
const TICK_MS = 20;

const inside = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`);
const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** What the owner needs to read a file, and to look into a folder. */
const READABLE = { file: 0o400, folder: 0o500, symlink: 0 };

/** What was there a moment ago is not, or is something else: an event tells of it, or will. */
export const isGone = (error: unknown): boolean =>
  failedWith(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'ESTALE', 'ENXIO');

/** When something of an open file was changed; nobody can set it. What is written through a mapping shows there late, or never. */
const changedAt = (file: Fd): bigint => fstatSync(file.number, { bigint: true }).ctimeNs;

/** A folder of an open one; undefined when it is not there any more. */
function folderIn(folder: Fd, name: string): Fd | undefined {
  try {
    return openBeneath(folder, name, { flags: OPEN.folder, sameMount: true });
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** False when there is nothing of that name any more. */
function madeReadable(folder: Fd, name: string, mode: number): boolean {
  try {
    chmodIn(folder, name, mode);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Watches a folder more. Throws what to do where there may be no more of them. */
export function addWatch(watch: TreeWatch, folder: Fd): number {
  try {
    return watch.add(folder);
  } catch (error) {
    if (!failedWith(error, 'ENOSPC')) throw error;
    throw new Error('so many folders cannot be watched (raise fs.inotify.max_user_watches)');
  }
}

/** The folder in memory that a program works in: what is there, and what was changed since it was last taken. */
export class MemoryFolder {
  readonly root: Fd;
  readonly now = new Map<string, Now>();
  /** Files (inodes) that were written since memory was filled. */
  readonly changed = new Set<string>();
  /** Files that were written since they were taken. */
  readonly dirty = new Set<string>();
  /** Something was changed since the last `settle`, be it names only. */
  moved = false;
  readonly #watch = new TreeWatch();
  readonly #folders = new Map<number, string>();
  readonly #watches = new Map<string, number>();
  /** A name of each file. */
  readonly #paths = new Map<string, string>();
  /** Files that came to a name, or lost one: somebody may have one open under a name that has gone, and no event tells of what he writes. */
  readonly #doubtful = new Set<string>();
  /** Those of them that are open for writing, and the time of the last change that was copied. */
  readonly #unseen = new Map<string, bigint | undefined>();

  /** Events were read, and not all of them looked at: they are told of once. */
  #isTorn = false;

  constructor(root: Fd) {
    this.root = root;
  }

  /** Watches a folder that is about to be filled, or looked at. */
  watch(folder: Fd, path: string): void {
    const watch = addWatch(this.#watch, folder);
    this.#folders.set(watch, path);
    this.#watches.set(path, watch);
  }

  /** Writes down what is at a name. */
  set(path: string, now: Now): void {
    if (this.now.size >= NAMES_MAX) throw new Error(`it has more than ${NAMES_MAX} names`);
    this.now.set(path, now);
    if (now.type === 'file') this.#paths.set(now.inode, path);
  }

  /** Looks at all that is there. With `dirty` every file counts as written. */
  scan(dirty: boolean): void {
    this.now.clear();
    this.#scan(this.root, '', 1, dirty);
  }

  #scan(folder: Fd, path: string, depth: number, dirty: boolean): void {
    if (depth > DEPTH_MAX) throw new Error(`it has more than ${DEPTH_MAX} folders in each other`);
    this.watch(folder, path);
    for (const name of namesIn(folder)) this.#look(folder, inside(path, name), depth, dirty);
  }

  /** Looks at one name of an open folder. */
  #look(folder: Fd, path: string, depth: number, dirty: boolean): void {
    const seen = seenIn(folder, last(path));
    const before = this.now.get(path);
    if (seen === undefined) {
      this.#forget(path);
      return;
    }
    const { type, inode, target } = seen;
    // What the program hides from its own user would be hidden from us, and never come to the disk.
    const mode = seen.mode | READABLE[type];
    if (mode !== seen.mode && !madeReadable(folder, last(path), mode)) {
      this.#forget(path);
      return;
    }
    const isKnown = before?.type === type && before.inode === inode;
    if (before !== undefined && !isKnown) this.#forget(path);
    this.set(path, { type, inode, mode, ...(target === undefined ? {} : { target }) });
    if (type === 'file' && dirty) {
      this.#write(inode);
      if (!isKnown) this.#doubtful.add(inode);
    }
    if (type !== 'folder' || isKnown) return;
    using below = folderIn(folder, last(path));
    if (below !== undefined) this.#scan(below, path, depth + 1, dirty);
  }

  #write(inode: string): void {
    this.changed.add(inode);
    this.dirty.add(inode);
  }

  #forget(path: string): void {
    const before = this.now.get(path);
    if (before === undefined) return;
    this.now.delete(path);
    if (before.type === 'file') this.#doubtful.add(before.inode);
    if (before.type !== 'folder') return;
    for (const [one, { type, inode }] of [...this.now]) {
      if (!one.startsWith(`${path}/`)) continue;
      this.now.delete(one);
      if (type === 'file') this.#doubtful.add(inode);
    }
    for (const [one, watch] of [...this.#watches]) {
      if (one !== path && !one.startsWith(`${path}/`)) continue;
      this.#watches.delete(one);
      if (this.#folders.get(watch) === one) this.#folders.delete(watch);
    }
  }

  /** Forgets what has happened until now. */
  settle(): void {
    this.#watch.read();
    this.dirty.clear();
  }

  /** Forgets files that have no name any more, in `saved` too: one that comes to a name again counts as written then. */
  forgetGone(saved: Map<string, unknown>): void {
    forgetGone(this.now, saved, this.changed, this.#paths);
  }

  /** Takes note of what has happened since it was asked last. False when nothing has. What fails is done by the next call. */
  drain(): boolean {
    const events = this.#watch.read();
    const isWhole = events !== undefined && !this.#isTorn;
    this.#isTorn = true;
    if (isWhole) this.#follow(events);
    else {
      // Nobody knows any more what was not written.
      this.moved = true;
      this.scan(true);
    }
    this.#isTorn = false;
    return !isWhole || events.length > 0;
  }

  #follow(events: readonly TreeEvent[]): void {
    const seen = new Set<string>();
    for (const { watch, name } of events) {
      const path = this.#folders.get(watch);
      if (path !== undefined && (name !== '' || path !== ''))
        seen.add(name === '' ? path : inside(path, name));
    }
    // Folders before what is in them.
    for (const path of [...seen].sort()) {
      this.moved = true;
      try {
        using folder = openBeneath(this.root, above(path), { flags: OPEN.folder, sameMount: true });
        this.#look(folder, path, path.split('/').length, true);
      } catch (error) {
        if (!isGone(error)) throw error;
        this.#forget(path);
      }
    }
  }

  /** What names came and went until now is not known: any file that is open for writing may be so under one that has gone. */
  doubtAll(): void {
    for (const { type, inode } of this.now.values())
      if (type === 'file' && !this.#unseen.has(inode) && this.#writtenNs(inode) !== undefined)
        this.#unseen.set(inode, undefined);
  }

  /** Finds out which files somebody may write to unseen. What may have been written so counts as written. While nobody waits. */
  settleUnseen(): void {
    for (const inode of this.#unseen.keys()) this.#doubtful.add(inode);
    if (this.#doubtful.size === 0) return;
    const there = new Set<string>();
    for (const [path, { type, inode }] of this.now) {
      if (type !== 'file' || !this.#doubtful.has(inode)) continue;
      this.#paths.set(inode, path);
      there.add(inode);
    }
    for (const inode of this.#doubtful) {
      const changedNs = there.has(inode) ? this.#writtenNs(inode) : undefined;
      if (there.has(inode) && (changedNs === undefined || this.#unseen.get(inode) !== changedNs))
        this.#write(inode);
      if (changedNs === undefined) this.#unseen.delete(inode);
      else if (!this.#unseen.has(inode)) this.#unseen.set(inode, undefined);
    }
    this.#doubtful.clear();
  }

  /** Files that may have been written unseen since they were copied. Of those that moved meanwhile events tell. */
  unseen(): string[] {
    return [...this.#unseen].flatMap(([inode, copiedNs]) => {
      if (this.#doubtful.has(inode)) return [];
      using file = this.#open(inode);
      return file === undefined || changedAt(file) === copiedNs ? [] : [inode];
    });
  }

  /** When a file was changed that is open for writing; undefined: it is not. */
  #writtenNs(inode: string): bigint | undefined {
    using file = this.#open(inode);
    return file !== undefined && isOpenForWriting(file) ? changedAt(file) : undefined;
  }

  /** Where a file is that has not gone; undefined when it has. */
  #pathOf(inode: string): string | undefined {
    const path = this.#paths.get(inode);
    if (path !== undefined && this.now.get(path)?.inode === inode) return path;
    for (const [other, one] of this.now) {
      if (one.inode !== inode || one.type !== 'file') continue;
      this.#paths.set(inode, other);
      return other;
    }
    return undefined;
  }

  /**
   * Copies a file to `name` of `to`, with all but its owner. Returns its size; undefined when it has gone.
   * @param check is asked before each piece; what it throws ends the copy.
   */
  copyOut(inode: string, to: Fd, name: string, check: () => void): number | undefined {
    using from = this.#open(inode);
    if (from === undefined) return undefined;
    // Before it is copied: what is written meanwhile is written later.
    const changedNs = changedAt(from);
    const isLong = BigInt(Date.now() - TICK_MS) * 1_000_000n > changedNs;
    using copy = openBeneath(to, name, { flags: OPEN.create, mode: 0o600 });
    try {
      const size = copyContent(from, copy, check);
      copyMetadata(from, copy, to, name, 'possible');
      if (this.#unseen.has(inode)) this.#unseen.set(inode, isLong ? changedNs : undefined);
      return size;
    } catch (error) {
      unlinkIn(to, name);
      throw error;
    }
  }

  /** Opens the very file; undefined when it has gone. */
  #open(inode: string): Fd | undefined {
    const path = this.#pathOf(inode);
    if (path === undefined) return undefined;
    let file: Fd;
    try {
      file = openBeneath(this.root, path, { flags: READ, sameMount: true });
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
    const stats = fstatSync(file.number, { bigint: true });
    if (String(stats.ino) === inode && stats.isFile()) return file;
    file.close();
    return undefined;
  }

  close(): void {
    this.#watch.close();
    this.root.close();
  }
}
