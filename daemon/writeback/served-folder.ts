import { fsyncSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { copyMetadata, copyWithDigest, digestOfContent } from '../kernel/file-copy.ts';
import { syncFileSystemOf } from '../kernel/files.ts';
import { isOnFuse } from '../kernel/on-fuse.ts';
import { namesIn, openBeneath, openOrMakeFolder, unlinkIn } from '../kernel/openat.ts';
import { TreeWatch } from '../kernel/tree-watch.ts';
import { recallBase, writeBase } from './base-record.ts';
import { planDelta, type Saved, toTake } from './delta.ts';
import { type Filled, fillMemory, readBase } from './fill.ts';
import { FolderDisk } from './folder-disk.ts';
import { commitGeneration, pruneBox, type Recovered, recoverBox } from './generations.ts';
import { numberOf } from './manifest.ts';
import { addWatch, MemoryFolder } from './memory-folder.ts';
import { compareMemory, compareWithDisk } from './take-up.ts';

/** Taking took longer than the program may stand still. */
export class Late extends Error {}

/** How often what is being written is taken anew where the program cannot be stopped. */
const QUIET_TRIES = 8;
/** From so many files on the whole file system is flushed at once. */
const FLUSH_ALL = 128;

/** A copy that was taken and is not on the disk yet. */
interface Taken {
  name: string;
  /** Memory had no room for it: it lies where it is to go already. */
  inBox: boolean;
}

/** Where the parts of a served folder are. */
export interface Parts {
  /** The open folder above it on the disk, and its name there. */
  parent: Fd;
  name: string;
  /** Its folder in memory: `data` in it is what the program sees, in `taken` copies wait to be written. */
  place: Fd;
}

/** One folder that a program has in memory, and what of it was written back. One take is written before the next is begun. */
export class ServedFolder {
  /** A program serves its disk. */
  readonly isOnFuse: boolean;
  readonly #disk: FolderDisk;
  readonly #place: Fd;
  readonly #memory: MemoryFolder;
  readonly #takenFolder: Fd;
  readonly #taken = new Map<string, Taken>();
  readonly #saved = new Map<string, Saved>();
  /** Taken although nothing tells that they were written. */
  readonly #untold = new Set<string>();
  #filled: Filled | undefined;
  /** What was changed on the disk since memory was filled, until a program works there. */
  #diskWatch: TreeWatch | undefined;
  #diskMoved = false;
  #number = 0;
  #count = 0;

  constructor({ parent, name, place }: Parts) {
    this.isOnFuse = isOnFuse(parent);
    this.#disk = new FolderDisk(parent, name);
    this.#place = place;
    this.#memory = new MemoryFolder(openOrMakeFolder(place, 'data'));
    this.#takenFolder = openOrMakeFolder(place, 'taken');
  }

  /** Reads the folder into memory, which is empty. */
  fill(): Filled {
    // Where nothing can be put beside it, that is to be known now.
    this.#disk.makeBox();
    this.#disk.dropBox();
    const watch = new TreeWatch();
    this.#diskWatch = watch;
    this.#filled = fillMemory(this.#disk.root, this.#memory, (one) => void addWatch(watch, one));
    writeBase(this.#place, this.#base);
    return this.#filled;
  }

  #endDiskWatch(): void {
    this.#diskWatch?.close();
    this.#diskWatch = undefined;
  }

  /** True when the folder on the disk is what memory was filled with. At once where nothing has happened in it since. */
  isSame(): boolean {
    if (!this.#disk.isThere()) return false;
    // What was told once is not told again, and folders that were made since are not watched.
    this.#diskMoved ||= this.#diskWatch?.read()?.length !== 0;
    if (!this.#diskMoved) return true;
    const now = readBase(this.#disk.root).base;
    if (now.size !== this.#base.size) return false;
    return [...now].every(([path, one]) => {
      const before = this.#base.get(path);
      return (
        before?.type === one.type &&
        before.inode === one.inode &&
        before.mode === one.mode &&
        before.target === one.target &&
        (one.type === 'folder' || (before.size === one.size && before.mtimeNs === one.mtimeNs))
      );
    });
  }

  /** Takes up what memory has already, with what an earlier writer has saved. */
  takeUp(): Filled {
    for (const name of namesIn(this.#takenFolder)) unlinkIn(this.#takenFolder, name);
    const base = recallBase(this.#place);
    if (base === undefined) this.#endFinish();
    for (const name of this.#disk.boxNames() ?? []) {
      this.#number = Math.max(this.#number, numberOf(name) ?? 0);
      this.#count = Math.max(this.#count, Number(/^file-(\d+)$/.exec(name)?.[1] ?? 0));
    }
    this.#filled =
      base === undefined
        ? compareWithDisk(this.#disk.root, this.#memory)
        : compareMemory(base, this.#memory);
    return this.#filled;
  }

  /** Whoever was bringing the last generation into the folder has ended. Where it cannot be brought there, the next one has all of it. */
  #endFinish(): void {
    try {
      recoverBox(this.#disk);
    } catch {
      // Told when that one cannot be brought there either.
    }
  }

  get #base(): Filled['base'] {
    if (this.#filled === undefined) throw new Error('internal error: memory was not filled');
    return this.#filled.base;
  }

  /** Copies what was changed while the program goes on, so that less is left for the moment in which it stands still. */
  prepare(): void {
    this.#endDiskWatch();
    this.#memory.drain();
    this.#memory.settleUnseen();
    const known = new Map<string, Saved>(this.#saved);
    for (const inode of this.#taken.keys()) known.set(inode, { blob: '', size: 0, digest: '' });
    for (const inode of this.#memory.dirty) known.delete(inode);
    const contents = { changed: this.#memory.changed, saved: known };
    this.#copy(toTake(this.#base, this.#memory.now, contents), () => undefined);
  }

  /** Copies what was changed since. `mapped`: files that are written without a trace. Throws Late after `untilMs` (of `performance.now`). */
  take(mapped: readonly string[], untilMs: number): void {
    const check = (): void => {
      if (performance.now() > untilMs) throw new Late();
    };
    this.#memory.drain();
    check();
    this.#untold.clear();
    const untold = [...mapped, ...this.#memory.unseen()];
    check();
    for (const inode of untold) {
      this.#memory.changed.add(inode);
      if (!this.#memory.dirty.has(inode) && !this.#taken.has(inode)) this.#untold.add(inode);
    }
    this.#copy(new Set([...this.#memory.dirty, ...untold]), check);
  }

  /** Copies what was changed while the rest was taken. False when nothing was, be it names only: what was taken is one moment then. */
  takeMore(): boolean {
    const hasMoved = this.#memory.drain();
    this.#copy(this.#memory.dirty, () => undefined);
    return hasMoved;
  }

  #copy(inodes: ReadonlySet<string>, check: () => void): void {
    for (const inode of [...inodes]) {
      check();
      this.#drop(inode);
      this.#count += 1;
      const name = `file-${this.#count}`;
      // Before it is copied: what is written meanwhile makes it dirty again.
      this.#memory.dirty.delete(inode);
      try {
        const inBox = this.#copyOne(inode, name, check);
        if (inBox !== undefined) this.#taken.set(inode, { name, inBox });
      } catch (error) {
        this.#memory.dirty.add(inode);
        throw error;
      }
    }
  }

  /** True when it went to the disk, false to memory; undefined when the file has gone. */
  #copyOne(inode: string, name: string, check: () => void): boolean | undefined {
    try {
      const size = this.#memory.copyOut(inode, this.#takenFolder, name, check);
      return size === undefined ? undefined : false;
    } catch (error) {
      if (!failedWith(error, 'ENOSPC')) throw error;
    }
    this.#disk.makeBox();
    return this.#memory.copyOut(inode, this.#disk.box, name, check) === undefined
      ? undefined
      : true;
  }

  #drop(inode: string): void {
    const earlier = this.#taken.get(inode);
    if (earlier === undefined) return;
    unlinkIn(earlier.inBox ? this.#disk.box : this.#takenFolder, earlier.name);
    this.#taken.delete(inode);
  }

  /** Writes what was taken to the disk as a generation. Undefined when there is nothing that the last one has not. */
  save(takenMs: number): { generation: number; files: number; bytes: number } | undefined {
    let bytes = 0;
    let files = 0;
    for (const [inode, saved] of this.#flushTaken()) {
      if (this.#untold.has(inode) && this.#saved.get(inode)?.digest === saved.digest) {
        this.#disk.removeInBox(saved.blob);
        continue;
      }
      this.#saved.set(inode, saved);
      this.#memory.moved = true;
      files += 1;
      bytes += saved.size;
    }
    if (!this.#memory.moved) return undefined;
    this.#memory.moved = false;
    const contents = { changed: this.#memory.changed, saved: this.#saved };
    const changes = planDelta(this.#base, this.#memory.now, contents);
    try {
      this.#disk.makeBox();
      commitGeneration(this.#disk, { number: this.#number + 1, takenMs, changes });
    } catch (error) {
      this.#memory.moved = true;
      throw error;
    }
    this.#number += 1;
    // Who saves by rename makes a new file each time: the box keeps none that is not needed.
    this.#memory.forgetGone(this.#saved);
    pruneBox(this.#disk, new Set([...this.#saved.values()].map(({ blob }) => blob)));
    return { generation: this.#number, files, bytes };
  }

  /** What was taken is in the box, and its bytes are flushed. Where that fails, nothing of it counts. */
  #flushTaken(): Map<string, Saved> {
    const written = new Map<string, Saved>();
    const together = this.#taken.size > FLUSH_ALL;
    try {
      for (const [inode, taken] of this.#taken) {
        this.#disk.makeBox();
        written.set(inode, this.#saveOne(taken, together));
      }
      if (together) syncFileSystemOf(this.#disk.box);
    } catch (error) {
      this.#dropWritten();
      throw error;
    }
    for (const { name, inBox } of this.#taken.values())
      if (!inBox) unlinkIn(this.#takenFolder, name);
    this.#taken.clear();
    return written;
  }

  /** Bytes that could not be flushed once may be lost although the next flush says nothing: they are written anew (SECURITY 6). */
  #dropWritten(): void {
    const lost = [...this.#taken].filter(([, { inBox }]) => inBox).map(([inode]) => inode);
    for (const inode of lost) this.#memory.dirty.add(inode);
    for (const inode of lost) this.#drop(inode);
    const names = new Set(this.#disk.boxNames());
    for (const { name } of this.#taken.values()) if (names.has(name)) this.#disk.removeInBox(name);
  }

  /** @param later its bytes are flushed with those of all others. */
  #saveOne({ name, inBox }: Taken, later: boolean): Saved {
    if (inBox) {
      using file = openBeneath(this.#disk.box, name);
      if (!later) fsyncSync(file.number);
      return { blob: name, size: this.#disk.sizeInBox(name), digest: digestOfContent(file) };
    }
    using from = openBeneath(this.#takenFolder, name);
    using to = this.#disk.newInBox(name);
    const copied = copyWithDigest(from, to);
    copyMetadata(from, to, this.#disk.box, name, 'possible');
    if (!later) fsyncSync(to.number);
    return { blob: name, ...copied };
  }

  /** Brings the last generation into the folder on the disk. After the last program has ended and all was saved. */
  finish(): Recovered {
    return recoverBox(this.#disk);
  }

  close(): void {
    this.#endDiskWatch();
    this.#memory.close();
    this.#takenFolder.close();
    this.#place.close();
    this.#disk.close();
  }
}

/**
 * Goes on taking, after `take`, until nothing happened in any of the folders meanwhile. Otherwise what a program has made would be missed, and
 * what it has removed after that would be gone. Throws Late when it goes on and on.
 */
export function takeQuiet(folders: readonly ServedFolder[]): void {
  for (let tries = 0; folders.map((one) => one.takeMore()).includes(true); tries += 1)
    if (tries === QUIET_TRIES) throw new Late();
}
