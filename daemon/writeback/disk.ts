import type { Witness } from './delta.ts';

/** What is found at a name of the folder. */
export interface Seen extends Witness {
  mode: number;
  target?: string;
}

/**
 * The folder on the disk, and the box beside it: a folder of ours in the same file system. Single steps, each of which a crash may be the last
 * of; nothing but what is synced is sure to be there after one. Names are byte strings.
 */
export interface Disk {
  makeBox(): void;
  /** Names in the box; undefined when there is none. */
  boxNames(): string[] | undefined;
  readBox(name: string): string;
  /** Writes a new file and syncs its bytes, not its name. */
  writeBox(name: string, text: string): void;
  /** The inode of a file in the box, or undefined. */
  inodeInBox(name: string): string | undefined;
  /** The digest of a file in the box. */
  digestInBox(name: string): string;
  linkInBox(from: string, to: string): void;
  moveInBox(from: string, to: string): void;
  removeInBox(name: string): void;
  syncBox(): void;
  /** Removes the box, durably, unless something is in it. */
  dropBox(): void;

  /** What is at a name. Throws EEXIST where that is neither a file nor a folder nor a link, EXDEV where it is in a mount. */
  look(path: string): Seen | undefined;
  /** A further name, in the box, for a file of the folder. */
  linkOut(path: string, name: string): void;
  symlinkInBox(target: string, name: string): void;
  /** Moves a name of the box into the folder; a file there is replaced. */
  moveIn(name: string, path: string): void;
  /** Moves a name of the folder into the box. */
  moveOut(path: string, name: string): void;
  makeFolder(path: string, mode: number): void;
  setMode(path: string, mode: number): void;
  remove(path: string): void;
  /** Removes an empty folder; one that is not empty stays. */
  removeFolder(path: string): void;
  /** Does nothing where a mount is. */
  syncFolder(path: string): void;
}
