import { fstatSync, readSync } from 'node:fs';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { entriesIn, OPEN, openBeneath, openInRoot } from './openat.ts';

/** Which files of a tree are read, and how much of them. */
export interface TextRules {
  /** How the names of files end. */
  suffix: string;
  /** Folders below the first one. */
  depthMax: number;
  filesMax: number;
  /** A larger file is not read. */
  bytesMax: number;
  /** All files together. */
  totalMax: number;
  /** Nobody but root and this user may own or write a file; and no link is followed. Without: links stay inside the tree. */
  ownedBy?: number;
}

/** A file that was read. */
export interface ReadText {
  /** From the opened root, beginning with `/`. */
  path: string;
  text: string;
  modifiedMs: number;
}

/** A file or folder that was not read, and why. */
export interface NotRead {
  path: string;
  reason: string;
}

const MODE_TYPE = 0o170000;
const MODE_FILE = 0o100000;
const MODE_FOLDER = 0o040000;
const MODE_OTHERS_WRITE = 0o022;
const looking = OPEN.nonBlocking;

const bytesOf = (path: string): string => Buffer.from(path).toString('latin1');
const textOf = (name: string): string => Buffer.from(name, 'latin1').toString();

function openAt(root: Fd, path: string, { ownedBy }: TextRules): Fd {
  if (ownedBy === undefined) return openInRoot(root, bytesOf(path), looking);
  return openBeneath(root, bytesOf(path), { flags: OPEN.read | looking });
}

function whyNotOwned(uid: number, mode: number, { ownedBy }: TextRules): string | undefined {
  if (ownedBy === undefined) return undefined;
  if (uid !== 0 && uid !== ownedBy) return `it belongs to uid ${uid}`;
  return (mode & MODE_OTHERS_WRITE) === 0 ? undefined : 'others than its owner can write it';
}

function readWhole(file: Fd, bytes: number): string {
  const buffer = Buffer.alloc(bytes);
  let at = 0;
  while (at < bytes) {
    const count = readSync(file.number, buffer, at, bytes - at, at);
    if (count === 0) break;
    at += count;
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, at));
}

/** One walk: what was read so far counts against the limits. */
class Walk {
  readonly refused: NotRead[] = [];
  readonly #root: Fd;
  readonly #rules: TextRules;
  readonly #take: (text: ReadText) => void;
  #files = 0;
  #bytes = 0;

  constructor(root: Fd, rules: TextRules, take: (text: ReadText) => void) {
    this.#root = root;
    this.#rules = rules;
    this.#take = take;
  }

  refuse(path: string, reason: string): void {
    this.refused.push({ path, reason });
  }

  /** Looks at one name. False when nothing more is read. */
  look(path: string, depth: number): boolean {
    try {
      using opened = openAt(this.#root, path, this.#rules);
      const { mode, uid, size, mtimeMs } = fstatSync(opened.number);
      const notOwned = whyNotOwned(uid, mode, this.#rules);
      if (notOwned !== undefined) this.refuse(path, notOwned);
      else if ((mode & MODE_TYPE) === MODE_FOLDER) {
        if (depth <= this.#rules.depthMax) return this.#folder(opened, path, depth);
        this.refuse(path, 'it lies too deep');
      } else if ((mode & MODE_TYPE) !== MODE_FILE) this.refuse(path, 'it is no regular file');
      else return this.#file(opened, path, size, mtimeMs);
    } catch (error) {
      this.refuse(path, reasonOf(error));
    }
    return true;
  }

  #full(path: string, reason: string): false {
    this.refuse(path, `${reason}: neither this one nor what follows is read`);
    return false;
  }

  #folder(folder: Fd, path: string, depth: number): boolean {
    return entriesIn(folder)
      .filter(({ name, isFolder }) => isFolder || name.endsWith(this.#rules.suffix))
      .map(({ name }) => textOf(name))
      .sort()
      .every((name) => this.look(`${path}/${name}`, depth + 1));
  }

  #file(file: Fd, path: string, size: number, modifiedMs: number): boolean {
    const { filesMax, bytesMax, totalMax } = this.#rules;
    if (this.#files >= filesMax) return this.#full(path, `there are more than ${filesMax} files`);
    this.#files += 1;
    if (size > bytesMax) {
      this.refuse(path, `it is larger than ${bytesMax} bytes`);
      return true;
    }
    if (this.#bytes + size > totalMax)
      return this.#full(path, `all together is more than ${totalMax} bytes`);
    this.#bytes += size;
    this.#take({ path: `/${path}`, text: readWhole(file, size), modifiedMs });
    return true;
  }
}

function reasonOf(error: unknown): string {
  if (failedWith(error, 'ELOOP')) return 'it is a link, or lies behind one';
  if (error instanceof KernelError) return error.code;
  return error instanceof TypeError ? 'it is no UTF-8 text' : String((error as Error).message);
}

/**
 * Hands over the texts of a folder of a tree (or of one file), by name, within limits: nothing in it can hold up the reader (pipes are not
 * waited for), grow without bounds, or lead out of the tree. A folder that is not there has none. `folder` is relative.
 */
export function readTexts(
  root: Fd,
  folder: string,
  rules: TextRules,
  take: (text: ReadText) => void,
): NotRead[] {
  const walk = new Walk(root, rules, take);
  try {
    openAt(root, folder, rules).close();
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) return [];
    return [{ path: folder, reason: reasonOf(error) }];
  }
  walk.look(folder, 0);
  return walk.refused;
}
