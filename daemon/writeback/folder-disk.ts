import {
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { failedWith, KernelError } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { digestOfContent } from '../kernel/file-copy.ts';
import { syncFileSystemOf } from '../kernel/files.ts';
import {
  chmodIn,
  linkIn,
  makeFolderIn,
  namesIn,
  OPEN,
  openBeneath,
  renameIn,
  symlinkIn,
  unlinkIn,
} from '../kernel/openat.ts';
import type { Disk, Seen } from './disk.ts';

/** What the box of a folder is called, beside it. */
export const boxOf = (name: string): string => `.persona-${name}`;

const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** What is at a name of an open folder; undefined: nothing, or neither a file nor a folder nor a link. Byte strings. */
export function seenIn(
  folder: Fd,
  name: string,
  looks = 8,
): (Seen & { links: number }) | undefined {
  const place = Buffer.from(`${folder.path}/${name}`, 'latin1');
  try {
    const stats = lstatSync(place, { bigint: true });
    const type = stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'folder'
        : stats.isSymbolicLink()
          ? 'symlink'
          : undefined;
    if (type === undefined) return undefined;
    return {
      type,
      inode: String(stats.ino),
      size: Number(stats.size),
      mtimeNs: String(stats.mtimeNs),
      mode: Number(stats.mode & 0o7777n),
      links: Number(stats.nlink),
      ...(type === 'symlink' ? { target: readlinkSync(place, { encoding: 'latin1' }) } : {}),
    };
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    // A link that became something else between the two looks.
    if (failedWith(error, 'EINVAL') && looks > 1) return seenIn(folder, name, looks - 1);
    throw error;
  }
}

/** Something is at a name of an open folder, whatever it is. */
function isTaken(folder: Fd, name: string): boolean {
  const place = Buffer.from(`${folder.path}/${name}`, 'latin1');
  return lstatSync(place, { throwIfNoEntry: false }) !== undefined;
}

/** A folder of a user and the box beside it, on a real disk. By descriptors all the way: no link is followed, no mount entered. */
export class FolderDisk implements Disk {
  readonly #parent: Fd;
  readonly #name: string;
  readonly #root: Fd;
  #box: Fd | undefined;

  /** @param parent the open folder above; it stays the caller's. */
  constructor(parent: Fd, name: string) {
    this.#parent = parent;
    this.#name = name;
    this.#root = openBeneath(parent, name, { flags: OPEN.folder, sameMount: true });
    this.#box = this.#openBox();
  }

  get root(): Fd {
    return this.#root;
  }

  /** True while this very folder is at its name. */
  isThere(): boolean {
    const inode = String(fstatSync(this.#root.number, { bigint: true }).ino);
    return seenIn(this.#parent, this.#name)?.inode === inode;
  }

  /** The open box. Throws when there is none. */
  get box(): Fd {
    if (this.#box === undefined) throw new Error('internal error: there is no box');
    return this.#box;
  }

  #openBox(): Fd | undefined {
    try {
      return openBeneath(this.#parent, boxOf(this.#name), { flags: OPEN.folder, sameMount: true });
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  makeBox(): void {
    if (this.#box !== undefined) return;
    makeFolderIn(this.#parent, boxOf(this.#name), 0o700);
    fsyncSync(this.#parent.number);
    this.#box = this.#openBox();
  }

  boxNames(): string[] | undefined {
    return this.#box && namesIn(this.#box);
  }

  readBox(name: string): string {
    using file = openBeneath(this.box, name);
    return readFileSync(file.number, 'latin1');
  }

  writeBox(name: string, text: string): void {
    using file = openBeneath(this.box, name, { flags: OPEN.create, mode: 0o600 });
    writeFileSync(file.number, text, 'latin1');
    fsyncSync(file.number);
  }

  /** Creates a file in the box, in place of what an earlier try has left. */
  newInBox(name: string): Fd {
    if (this.inodeInBox(name) !== undefined) this.removeInBox(name);
    return openBeneath(this.box, name, { flags: OPEN.create, mode: 0o600 });
  }

  inodeInBox(name: string): string | undefined {
    return seenIn(this.box, name)?.inode;
  }

  sizeInBox(name: string): number {
    return seenIn(this.box, name)?.size ?? 0;
  }

  digestInBox(name: string): string {
    using file = openBeneath(this.box, name);
    return digestOfContent(file);
  }

  linkInBox(from: string, to: string): void {
    linkIn(this.box, from, this.box, to);
  }

  moveInBox(from: string, to: string): void {
    renameIn(this.box, from, this.box, to);
  }

  removeInBox(name: string): void {
    unlinkIn(this.box, name);
  }

  syncBox(): void {
    fsyncSync(this.box.number);
  }

  dropBox(): void {
    if (this.boxNames()?.length !== 0) return;
    unlinkIn(this.#parent, boxOf(this.#name), true);
    fsyncSync(this.#parent.number);
    this.#box?.close();
    this.#box = undefined;
  }

  #folder(path: string): Fd {
    return openBeneath(this.#root, path, { flags: OPEN.folder, sameMount: true });
  }

  look(path: string): Seen | undefined {
    if (path === '') return seenIn(this.#parent, this.#name);
    try {
      using folder = this.#folder(above(path));
      const seen = seenIn(folder, last(path));
      if (seen === undefined && isTaken(folder, last(path)))
        throw new KernelError('replace', 'EEXIST', path);
      return seen;
    } catch (error) {
      if (failedWith(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw error;
    }
  }

  linkOut(path: string, name: string): void {
    using folder = this.#folder(above(path));
    linkIn(folder, last(path), this.box, name);
  }

  symlinkInBox(target: string, name: string): void {
    symlinkIn(target, this.box, name);
  }

  moveIn(name: string, path: string): void {
    using folder = this.#folder(above(path));
    renameIn(this.box, name, folder, last(path));
  }

  moveOut(path: string, name: string): void {
    using folder = this.#folder(above(path));
    renameIn(folder, last(path), this.box, name);
  }

  makeFolder(path: string, mode: number): void {
    using folder = this.#folder(above(path));
    makeFolderIn(folder, last(path), 0o700);
    this.setMode(path, mode);
  }

  setMode(path: string, mode: number): void {
    if (path === '') fchmodSync(this.#root.number, mode);
    else {
      using folder = this.#folder(above(path));
      chmodIn(folder, last(path), mode);
    }
  }

  remove(path: string): void {
    using folder = this.#folder(above(path));
    unlinkIn(folder, last(path));
  }

  removeFolder(path: string): void {
    using folder = this.#folder(above(path));
    try {
      unlinkIn(folder, last(path), true);
    } catch (error) {
      if (!failedWith(error, 'ENOTEMPTY')) throw error;
    }
  }

  syncFolder(path: string): void {
    try {
      using folder = this.#folder(path);
      fsyncSync(folder.number);
    } catch (error) {
      // Others have mounted something there.
      if (failedWith(error, 'EXDEV')) return;
      // Its user may not read it.
      if (!failedWith(error, 'EACCES')) throw error;
      syncFileSystemOf(this.box);
    }
  }

  close(): void {
    this.#box?.close();
    this.#root.close();
  }
}
