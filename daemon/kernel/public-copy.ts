import {
  type BigIntStats,
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { openFolder } from './openat.ts';
import { TreeWatch } from './tree-watch.ts';

/** What is copied is settings: who has more keeps something else there. */
const ENTRIES_MAX = 8_192;
const BYTES_MAX = 32n * 1024n * 1024n;
const DEPTH_MAX = 12;

/** Everybody may read it. */
const isPublic = (stat: BigIntStats): boolean =>
  stat.isDirectory() ? (stat.mode & 0o5n) === 0o5n : (stat.mode & 0o4n) !== 0n;

/** Which file it is, and in which state. */
const stateOf = (stat: BigIntStats): string => `${stat.ino} ${stat.ctimeNs} ${stat.size}`;

function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isProgram(link: string): boolean {
  try {
    return realpathSync(link).startsWith('/usr/');
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ELOOP')) return true; // it leads nowhere, here and there
    throw error;
  }
}

/**
 * A copy of some names in a folder of root's, as far as everybody may read them: what is bound read-only as one folder instead of name by name.
 * It is changed in place, so that who has it bound sees what is changed. Of the copy nothing is anybody's but root's.
 */
export class PublicCopy {
  readonly #from: string;
  readonly #to: string;
  readonly #names: ReadonlySet<string>;
  #watch: TreeWatch | undefined;
  #top = -1;
  /** Of each copied file, what it was copied from. */
  #copied = new Map<string, string>();
  #entries = 0;
  #bytes = 0n;

  /** @param to may be there from an earlier process; beside it lies `to.new` for moments. */
  constructor(from: string, to: string, names: readonly string[]) {
    this.#from = from;
    this.#to = to;
    this.#names = new Set(names);
  }

  /** Brings it up to date: nothing that was changed before this call is missing. Throws when it cannot be. */
  renew(): void {
    if (this.#watch !== undefined && !this.#isChanged(this.#watch)) return;
    this.close();
    const watch = new TreeWatch();
    try {
      [this.#entries, this.#bytes] = [0, 0n];
      const before = this.#copied;
      this.#copied = new Map();
      this.#top = this.#mirror(watch, before, '', this.#names);
      this.#watch = watch;
    } catch (error) {
      watch.close();
      throw error;
    }
  }

  /** Lets go of its watches; the copy stays. */
  close(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  #isChanged(watch: TreeWatch): boolean {
    const events = watch.read();
    return events?.every((one) => one.watch === this.#top && !this.#names.has(one.name)) !== true;
  }

  /** Copies a folder, which is watched before it is looked at. */
  #mirror(
    watch: TreeWatch,
    before: ReadonlyMap<string, string>,
    below: string,
    only?: ReadonlySet<string>,
  ): number {
    if (below.split('/').length > DEPTH_MAX)
      throw new KernelError('copy', 'ELOOP', join(this.#from, below));
    using folder: Fd = openFolder(join(this.#from, below));
    const number = watch.add(folder);
    const to = join(this.#to, below);
    if (lookAt(to)?.isDirectory() !== true) {
      rmSync(to, { force: true });
      mkdirSync(to);
      chmodSync(to, 0o755);
    }
    const kept = new Set<string>();
    for (const name of readdirSync(folder.path)) {
      if (only?.has(name) === false) continue;
      if (this.#take(watch, before, join(below, name))) kept.add(name);
    }
    for (const name of readdirSync(to))
      if (!kept.has(name)) rmSync(join(to, name), { recursive: true, force: true });
    return number;
  }

  /** Copies one name. False when it is not to be there. */
  #take(watch: TreeWatch, before: ReadonlyMap<string, string>, path: string): boolean {
    const stat = lookAt(join(this.#from, path));
    if (stat === undefined) return false;
    this.#entries += 1;
    if (this.#entries > ENTRIES_MAX) throw new KernelError('copy', 'E2BIG', this.#from);
    if (stat.isSymbolicLink()) return this.#takeLink(path);
    if (!isPublic(stat)) return false;
    if (stat.isDirectory()) {
      this.#mirror(watch, before, path);
      return true;
    }
    if (!stat.isFile()) return false;
    this.#bytes += stat.size;
    if (this.#bytes > BYTES_MAX) throw new KernelError('copy', 'EFBIG', this.#from);
    const state = stateOf(stat);
    this.#copied.set(path, state);
    if (before.get(path) === state) return true;
    this.#put(path, (fresh) => {
      copyFileSync(join(this.#from, path), fresh);
      chmodSync(fresh, 0o444);
    });
    return true;
  }

  /** A link is copied as it is. One that stands for a whole name must lead to programs, which everybody has: elsewhere nothing would be behind it. */
  #takeLink(path: string): boolean {
    const target = readlinkSync(join(this.#from, path));
    if (this.#names.has(path) && !isProgram(join(this.#from, path)))
      throw new KernelError('copy', 'ENOTSUP', join(this.#from, path));
    const found = lookAt(join(this.#to, path));
    if (found?.isSymbolicLink() && readlinkSync(join(this.#to, path)) === target) return true;
    this.#put(path, (fresh) => symlinkSync(target, fresh));
    return true;
  }

  /** Puts something in its place at once: it is never half there. */
  #put(path: string, make: (fresh: string) => void): void {
    const [fresh, to] = [`${this.#to}.new`, join(this.#to, path)];
    rmSync(fresh, { force: true });
    make(fresh);
    if (lookAt(to)?.isDirectory()) rmSync(to, { recursive: true });
    renameSync(fresh, to);
  }
}
