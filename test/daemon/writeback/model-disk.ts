import { createHash } from 'node:crypto';
import type { Disk, Seen } from '../../../daemon/writeback/disk.ts';

/** The machine has stopped here. */
export class Crash extends Error {}

interface Node {
  type: Seen['type'];
  data: string;
  /** Bytes that are sure to be there after a crash. */
  synced: string;
  mode: number;
  mtime: number;
  target?: string;
}

type Names = Map<string, number>;

/** A change of names: what it does, and the folders it is written in. */
interface Step {
  folders: string[];
  run(names: Names): void;
}

/** Which of the promises of a disk is broken, to see that somebody notices. */
export type Broken = 'syncBox' | 'syncFolder' | 'bytes' | undefined;

const digestOf = (data: string): string =>
  createHash('sha256').update(data, 'latin1').digest('hex');
const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

function moveAll(names: Names, from: string, to: string): void {
  for (const [path, node] of [...names])
    if (path === from || path.startsWith(`${from}/`)) {
      names.delete(path);
      names.set(`${to}${path.slice(from.length)}`, node);
    }
}

/**
 * A disk in memory that forgets in a crash what was not synced: bytes of files as they happen to be, and of the changes of names any that
 * were not followed by a sync of their folder, as long as the order within each folder stays.
 */
export class ModelDisk implements Disk {
  readonly nodes: Node[] = [];
  #names: Names = new Map();
  #durable: Names = new Map();
  #pending: Step[] = [];
  readonly #random: () => number;
  readonly #broken: Broken;
  #clock = 0;
  /** Steps until the machine stops. */
  left = Number.POSITIVE_INFINITY;
  steps = 0;

  constructor(random: () => number, broken?: Broken) {
    this.#random = random;
    this.#broken = broken;
    this.#names.set('tree', this.#add({ type: 'folder', data: '', mode: 0o700 }));
    this.#durable = new Map(this.#names);
  }

  #add(node: Omit<Node, 'synced' | 'mtime'>): number {
    this.#clock += 1;
    return this.nodes.push({ ...node, synced: '', mtime: this.#clock }) - 1;
  }

  #step(folders: string[], run: Step['run']): void {
    this.#tick();
    run(this.#names);
    this.#pending.push({ folders, run });
  }

  #tick(): void {
    this.steps += 1;
    this.left -= 1;
    if (this.left < 0) throw new Crash();
  }

  #sync(folder: string): void {
    this.#tick();
    if (this.#broken === (folder === 'box' ? 'syncBox' : 'syncFolder')) return;
    const wanted = new Set([folder]);
    const rest: Step[] = [];
    const done: Step[] = [];
    // What an earlier step wrote in a folder is written with a later one there.
    for (const step of [...this.#pending].reverse()) {
      if (step.folders.some((one) => wanted.has(one))) {
        for (const one of step.folders) wanted.add(one);
        done.unshift(step);
      } else rest.unshift(step);
    }
    for (const step of done) step.run(this.#durable);
    this.#pending = rest;
  }

  /** Stops the machine and starts it again. */
  crash(): void {
    const lost = new Set<string>();
    for (const step of this.#pending) {
      const kept = !step.folders.some((one) => lost.has(one)) && this.#random() < 0.5;
      if (kept) step.run(this.#durable);
      else for (const one of step.folders) lost.add(one);
    }
    this.#pending = [];
    this.#names = new Map(this.#durable);
    for (const node of this.nodes) {
      if (node.type !== 'file' || node.data === node.synced) continue;
      const torn = node.data.slice(0, Math.floor(this.#random() * node.data.length));
      node.data = this.#random() < 0.3 ? node.data : `${torn}\0`;
      node.synced = node.data;
    }
    this.left = Number.POSITIVE_INFINITY;
  }

  /** Puts a name into the folder, as others do; at once durable. */
  plant(path: string, node: { type: Seen['type']; data?: string; mode?: number; target?: string }) {
    const { type, data = '', mode = 0o600, target } = node;
    const id = this.#add({ type, data, mode, ...(target === undefined ? {} : { target }) });
    this.nodes[id]!.synced = data;
    for (const names of [this.#names, this.#durable]) names.set(`tree/${path}`, id);
  }

  /** A second name for a file of the folder. */
  plantLink(path: string, to: string): void {
    for (const names of [this.#names, this.#durable])
      names.set(`tree/${path}`, names.get(`tree/${to}`)!);
  }

  /** What the folder holds: of each name its kind and content, and which names are one file. */
  content(): Map<string, string> {
    const found = new Map<string, string>();
    const first = new Map<number, string>();
    for (const key of [...this.#names.keys()].sort()) {
      if (!key.startsWith('tree/')) continue;
      const id = this.#names.get(key)!;
      const path = key.slice('tree/'.length);
      const node = this.nodes[id]!;
      if (!first.has(id)) first.set(id, path);
      const text = node.type === 'folder' ? node.mode : (node.target ?? node.data);
      found.set(path, `${node.type} ${text} ${node.type === 'file' ? first.get(id) : ''}`);
    }
    return found;
  }

  /** Writes the content of a file into the box, as the taking of it does. */
  save(name: string, data: string): { blob: string; size: number; digest: string } {
    this.writeBox(name, data);
    return { blob: name, size: data.length, digest: digestOf(data) };
  }

  #node(path: string): Node | undefined {
    const id = this.#names.get(path);
    return id === undefined ? undefined : this.nodes[id];
  }

  makeBox(): void {
    if (this.#names.has('box')) return;
    const id = this.#add({ type: 'folder', data: '', mode: 0o700 });
    this.#step(['', 'box'], (names) => names.set('box', id));
    this.#sync('');
  }

  boxNames(): string[] | undefined {
    if (!this.#names.has('box')) return undefined;
    return [...this.#names.keys()].flatMap((path) => (above(path) === 'box' ? path.slice(4) : []));
  }

  readBox(name: string): string {
    return this.#node(`box/${name}`)!.data;
  }

  writeBox(name: string, text: string): void {
    const id = this.#add({ type: 'file', data: text, mode: 0o600 });
    this.#step(['box'], (names) => names.set(`box/${name}`, id));
    this.#tick();
    if (this.#broken !== 'bytes') this.nodes[id]!.synced = text;
  }

  inodeInBox(name: string): string | undefined {
    return this.#names.get(`box/${name}`)?.toString();
  }

  digestInBox(name: string): string {
    return digestOf(this.readBox(name));
  }

  linkInBox(from: string, to: string): void {
    const id = this.#names.get(`box/${from}`)!;
    this.#step(['box'], (names) => names.set(`box/${to}`, id));
  }

  moveInBox(from: string, to: string): void {
    this.#step(['box'], (names) => moveAll(names, `box/${from}`, `box/${to}`));
  }

  removeInBox(name: string): void {
    this.#step(['box'], (names) => names.delete(`box/${name}`));
  }

  syncBox(): void {
    this.#sync('box');
  }

  dropBox(): void {
    if (this.boxNames()?.length !== 0) return;
    this.#step(['', 'box'], (names) => names.delete('box'));
    this.#sync('');
  }

  look(path: string): Seen | undefined {
    const key = path === '' ? 'tree' : `tree/${path}`;
    const node = this.#node(key);
    if (node === undefined) return undefined;
    const { type, data, mode, mtime, target } = node;
    const inode = String(this.#names.get(key));
    return {
      type,
      inode,
      size: data.length,
      mtimeNs: String(mtime),
      mode,
      ...(target === undefined ? {} : { target }),
    };
  }

  linkOut(path: string, name: string): void {
    const id = this.#names.get(`tree/${path}`)!;
    this.#step(['box'], (names) => names.set(`box/${name}`, id));
  }

  symlinkInBox(target: string, name: string): void {
    const id = this.#add({ type: 'symlink', data: '', mode: 0o777, target });
    this.#step(['box'], (names) => names.set(`box/${name}`, id));
  }

  moveIn(name: string, path: string): void {
    const folders = ['box', above(`tree/${path}`)];
    this.#step(folders, (names) => moveAll(names, `box/${name}`, `tree/${path}`));
  }

  moveOut(path: string, name: string): void {
    const folders = [above(`tree/${path}`), 'box'];
    this.#step(folders, (names) => moveAll(names, `tree/${path}`, `box/${name}`));
  }

  makeFolder(path: string, mode: number): void {
    const id = this.#add({ type: 'folder', data: '', mode });
    const key = `tree/${path}`;
    this.#step([above(key), key], (names) => names.set(key, id));
  }

  setMode(path: string, mode: number): void {
    const before = this.#names.get(`tree/${path}`)!;
    const id = this.nodes.push({ ...this.nodes[before]!, mode }) - 1;
    this.#step([`tree/${path}`], (names) => names.set(`tree/${path}`, id));
  }

  remove(path: string): void {
    this.#step([above(`tree/${path}`)], (names) => names.delete(`tree/${path}`));
  }

  removeFolder(path: string): void {
    const key = `tree/${path}`;
    if ([...this.#names.keys()].some((one) => one.startsWith(`${key}/`))) return;
    this.#step([above(key), key], (names) => names.delete(key));
  }

  syncFolder(path: string): void {
    this.#sync(path === '' ? 'tree' : `tree/${path}`);
  }
}
