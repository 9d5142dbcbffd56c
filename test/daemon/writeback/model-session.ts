import {
  type Base,
  forgetGone,
  type Now,
  planDelta,
  type Saved,
  toTake,
} from '../../../daemon/writeback/delta.ts';
import { commitGeneration, pruneBox, recoverBox } from '../../../daemon/writeback/generations.ts';
import { blobsOf, numberOf, readGeneration } from '../../../daemon/writeback/manifest.ts';
import { type Broken, Crash, ModelDisk } from './model-disk.ts';

/** Numbers from a seed, the same every time (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const NAMES = ['a', 'b', 'c', 'd/a', 'd/b', 'd/e/a', 'e', 'e/a', 'f', 'f/b'];
const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

/** A folder in memory that a program changes at random, and its original on a disk that forgets. */
class Memory {
  readonly files = new Map<string, string>();
  readonly now = new Map<string, Now>();
  readonly #random: () => number;
  #inode = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }

  remove(path: string): void {
    for (const one of [...this.now.keys()])
      if (one === path || one.startsWith(`${path}/`)) this.now.delete(one);
  }

  folder(path: string): void {
    if (path === '' || this.now.get(path)?.type === 'folder') return;
    this.folder(above(path));
    this.remove(path);
    this.#inode += 1;
    this.now.set(path, { type: 'folder', inode: String(this.#inode), mode: 0o700 });
  }

  file(path: string, data: string): string {
    this.folder(above(path));
    this.remove(path);
    this.#inode += 1;
    const inode = String(this.#inode);
    this.files.set(inode, data);
    this.now.set(path, { type: 'file', inode, mode: 0o600 });
    return inode;
  }

  /** One thing that a program does. Returns the file whose content it changed. */
  edit(): string | undefined {
    const path = this.#pick(NAMES);
    const here = this.now.get(path);
    const data = String(this.#random()).repeat(1 + Math.floor(this.#random() * 4));
    switch (Math.floor(this.#random() * 7)) {
      case 0:
      case 1:
        if (here?.type === 'file') {
          this.files.set(here.inode, data);
          return here.inode;
        }
        return this.file(path, data);
      case 2:
        this.remove(path);
        return undefined;
      case 3:
        this.folder(path);
        return undefined;
      case 4: {
        this.folder(above(path));
        this.remove(path);
        this.#inode += 1;
        const inode = String(this.#inode);
        this.now.set(path, { type: 'symlink', inode, mode: 0o777, target: data });
        return undefined;
      }
      case 5: {
        const [from, one] = this.#pick([...this.now, [undefined, undefined] as const]);
        if (from === undefined || one?.type !== 'file' || from === path) return undefined;
        this.folder(above(path));
        if (!this.now.has(from)) return undefined;
        this.remove(path);
        this.now.set(path, one);
        return undefined;
      }
      default: {
        const one = this.now.get(path);
        if (one?.type === 'folder')
          this.now.set(path, { ...one, mode: this.#pick([0o700, 0o755]) });
        return undefined;
      }
    }
  }

  /** As `ModelDisk.content` shows it. */
  content(): Map<string, string> {
    const first = new Map<string, string>();
    const found = new Map<string, string>();
    for (const path of [...this.now.keys()].sort()) {
      const { type, inode, mode, target } = this.now.get(path)!;
      if (!first.has(inode)) first.set(inode, path);
      const text = type === 'folder' ? mode : (target ?? this.files.get(inode));
      found.set(path, `${type} ${text} ${type === 'file' ? first.get(inode) : ''}`);
    }
    return found;
  }
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([path, what]) => b.get(path) === what);

/** Reads the folder on the disk whole, and fills memory with it. */
function load(disk: ModelDisk, memory: Memory): Map<string, Base> {
  const base = new Map<string, Base>();
  const copies = new Map<string, string>();
  for (const path of disk.content().keys()) {
    const seen = disk.look(path)!;
    const { type, inode, mode, target } = seen;
    if (type === 'folder') {
      memory.folder(path);
      memory.now.set(path, { ...memory.now.get(path)!, mode });
    } else if (type === 'symlink') {
      memory.now.set(path, { type, inode: `link-${inode}`, mode, target: target! });
    } else {
      const data = disk.nodes[Number(inode)]!.data;
      const copy = copies.get(inode) ?? memory.file(path, data);
      copies.set(inode, copy);
      memory.now.set(path, { type, inode: copy, mode: 0o600 });
    }
    const copy = copies.get(inode);
    base.set(path, { ...seen, ...(copy === undefined ? {} : { copy }) });
  }
  return base;
}

/** What a run of the model showed. */
export interface Round {
  crashes: number;
  /** The folder was neither what it was nor what a generation says. */
  torn: number;
  /** A generation that had been reported as written was not there any more. */
  lost: number;
  /** Files in the box after a write-back that no record there names, and that are of no file in memory. */
  useless: number;
}

/** Files in the box that no record there names, and that are of no file in memory. */
function uselessIn(disk: ModelDisk, memory: Memory, saved: ReadonlyMap<string, Saved>): number {
  const names = disk.boxNames() ?? [];
  const records = names.filter((name) => numberOf(name) !== undefined);
  const named = blobsOf(records.flatMap((name) => readGeneration(disk.readBox(name)) ?? []));
  const there = new Set([...memory.now.values()].map(({ inode }) => saved.get(inode)?.blob));
  const isUseless = (name: string) => !named.has(name) && !there.has(name);
  return names.filter((name) => name.startsWith('file-') && isUseless(name)).length;
}

/**
 * A program that works in memory, write-backs, and a machine that stops at a random step of them and of each recovery. Afterwards the folder is
 * compared with what it was at each generation.
 */
export function crashRound(seed: number, broken?: Broken): Round {
  const random = randomFrom(seed);
  const disk = new ModelDisk(random, broken);
  for (const path of ['a', 'b']) disk.plant(path, { type: 'file', data: `old ${path}` });
  disk.plant('d', { type: 'folder', mode: 0o700 });
  disk.plant('d/a', { type: 'file', data: 'old d/a' });
  disk.plant('d/l', { type: 'symlink', target: 'a' });
  disk.plantLink('c', 'a');
  const round: Round = { crashes: 0, torn: 0, lost: 0, useless: 0 };
  const states = [disk.content()];
  let promised = 0;
  /** Works with stops after `steps` steps at most; true when the machine has stopped. */
  const until = (steps: number, work: () => void): boolean => {
    disk.left = Math.floor(random() * steps);
    try {
      work();
      disk.left = Number.POSITIVE_INFINITY;
      return false;
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      disk.crash();
      round.crashes += 1;
      return true;
    }
  };
  const memory = new Memory(random);
  const base = load(disk, memory);
  const saved = new Map<string, Saved>();
  const changed = new Set<string>();
  let blob = 0;
  const session = () => {
    disk.makeBox();
    for (let number = 1; number <= 4; number += 1) {
      for (let edits = 1 + Math.floor(random() * 4); edits > 0; edits -= 1) {
        const edited = memory.edit();
        if (edited === undefined) continue;
        saved.delete(edited);
        changed.add(edited);
      }
      for (const inode of toTake(base, memory.now, { changed, saved })) {
        blob += 1;
        saved.set(inode, disk.save(`file-${blob}`, memory.files.get(inode)!));
      }
      states.push(memory.content());
      const changes = planDelta(base, memory.now, { changed, saved });
      commitGeneration(disk, { number, takenMs: number, changes });
      promised = number;
      forgetGone(memory.now, saved, changed);
      pruneBox(disk, new Set([...saved.values()].map((one) => one.blob)));
      round.useless += uselessIn(disk, memory, saved);
    }
    recoverBox(disk);
  };
  // Fewer steps than most sessions have.
  until(70, session);
  let found: Map<string, string>;
  try {
    for (let tries = 0; tries < 4 && until(30, () => void recoverBox(disk)); tries += 1);
    recoverBox(disk);
    found = disk.content();
  } catch {
    return { ...round, lost: 1 };
  }
  const reached = states.findLastIndex((state) => isSame(state, found));
  if (reached === -1) round.torn += 1;
  else if (reached < promised) round.lost += 1;
  return round;
}
