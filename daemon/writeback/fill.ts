import { createHash } from 'node:crypto';
import { fchmodSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { copyMetadata, copyWithDigest, metadataOf } from '../kernel/file-copy.ts';
import { setChangeTime } from '../kernel/file-times.ts';
import {
  linkIn,
  makeFolderIn,
  namesIn,
  OPEN,
  openBeneath,
  symlinkIn,
  unlinkIn,
} from '../kernel/openat.ts';
import type { Base } from './delta.ts';
import { seenIn } from './folder-disk.ts';
import type { MemoryFolder } from './memory-folder.ts';

const READ = OPEN.read | OPEN.nonBlocking;
const FOLDER = { flags: OPEN.folder, sameMount: true };

/** What the folder on the disk was when memory was filled with it. */
export interface Filled {
  base: Map<string, Base>;
  files: number;
  bytes: number;
  /** Names that cannot be read, and what is neither file, folder nor link: they stay as they are on the disk. */
  skipped: number;
}

const inside = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`);
const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Visits every name below an open folder of the disk: folders before what is in them, and again after it. */
export function visit(
  folder: Fd,
  path: string,
  filled: Filled,
  each: (folder: Fd, path: string, base: Base, below?: Fd) => void,
  left: (path: string, base: Base) => void = () => undefined,
): void {
  for (const name of namesIn(folder)) {
    const one = inside(path, name);
    const seen = seenIn(folder, name);
    if (seen === undefined) {
      filled.skipped += 1;
      continue;
    }
    const { links: _, ...base } = seen;
    try {
      if (seen.type !== 'folder') each(folder, one, base);
      else {
        using below = openBeneath(folder, name, FOLDER);
        each(folder, one, base, below);
        filled.base.set(one, base);
        visit(below, one, filled, each, left);
        left(one, base);
      }
      filled.base.set(one, base);
    } catch (error) {
      // Another user's, or a mount: it is left alone on the disk.
      if (!failedWith(error, 'EACCES', 'EPERM', 'EXDEV')) throw error;
      filled.skipped += 1;
    }
  }
}

const none = (): Filled => ({ base: new Map(), files: 0, bytes: 0, skipped: 0 });

/** What the folder on the disk is now. */
export function readBase(disk: Fd): Filled {
  const filled = none();
  visit(disk, '', filled, () => undefined);
  return filled;
}

/** What an open file is known by: its content, and what a copy of it has besides. */
export const markOf = (file: Fd, digest: string): string =>
  createHash('sha256')
    .update(JSON.stringify([digest, ...metadataOf(file)]))
    .digest('hex');

/** Copies an open file, with all that it has. What cannot be copied whole is not there afterwards. */
function copyFile(from: Fd, to: Fd, name: string): { size: number; mark: string } {
  using copy = openBeneath(to, name, { flags: OPEN.create, mode: 0o600 });
  try {
    const { size, digest } = copyWithDigest(from, copy);
    copyMetadata(from, copy, to, name);
    return { size, mark: markOf(copy, digest) };
  } catch (error) {
    unlinkIn(to, name);
    throw error;
  }
}

/**
 * Fills the empty folder in memory with all that the folder on the disk has. Throws when that is changed meanwhile.
 * @param watch is given each folder of the disk before it is read.
 */
export function fillMemory(disk: Fd, memory: MemoryFolder, watch: (folder: Fd) => void): Filled {
  const filled = none();
  const folders = new Map<string, Fd>([['', memory.root]]);
  const first = new Map<string, string>();
  const folderOf = (path: string): Fd => folders.get(above(path))!;
  memory.watch(memory.root, '');
  const make = (from: Fd, path: string, base: Base, below?: Fd): void => {
    if (below !== undefined) watch(below);
    const to = folderOf(path);
    const name = last(path);
    const twin = first.get(base.inode);
    if (base.type === 'folder') {
      makeFolderIn(to, name, 0o700);
      const folder = openBeneath(to, name, FOLDER);
      folders.set(path, folder);
      memory.watch(folder, path);
    } else if (base.type === 'symlink') symlinkIn(base.target ?? '', to, name);
    else if (twin !== undefined) {
      using beside = openBeneath(memory.root, above(twin), FOLDER);
      linkIn(beside, last(twin), to, name);
    } else {
      using source = openBeneath(from, name, { flags: READ, sameMount: true });
      const { size, mark } = copyFile(source, to, name);
      base.mark = mark;
      filled.bytes += size;
      if (seenIn(from, name)?.mtimeNs !== base.mtimeNs) throw new Error('it is being changed');
      first.set(base.inode, path);
      filled.files += 1;
    }
    const { inode, mode, target } = seenIn(to, name)!;
    if (base.type === 'file') base.copy = inode;
    const kind = base.type === 'folder' ? { mode: base.mode } : { mode };
    memory.set(path, {
      type: base.type,
      inode,
      ...kind,
      ...(target === undefined ? {} : { target }),
    });
  };
  const leave = (path: string, { mode, mtimeNs }: Base): void => {
    const folder = folders.get(path)!;
    folders.delete(path);
    fchmodSync(folder.number, mode);
    folder.close();
    setChangeTime(folderOf(path), last(path), BigInt(mtimeNs));
  };
  try {
    watch(disk);
    visit(disk, '', filled, make, leave);
  } finally {
    folders.delete('');
    for (const folder of folders.values()) folder.close();
  }
  memory.settle();
  return filled;
}
