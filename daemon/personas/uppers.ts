import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  utimesSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { failedWith } from '../kernel/errno.ts';
import { Fd } from '../kernel/fd.ts';
import { syncFolder } from '../kernel/files.ts';
import { type Lower, upperInUse } from '../kernel/overlay.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { treeSize } from '../kernel/tree-size.ts';
import { readXattrs, writeXattr, type Xattrs } from '../kernel/xattrs.ts';
import type { RootShape, Upper } from './slot-rows.ts';

/** Empty uppers kept ready in each slot, so that a swap waits for no folder to become durable. */
const READY = 8;
/** With so many left the next ones are made when no swap has come for a while: their flushes would stand in its way. */
const ENOUGH = 2;
const QUIET_MS = 300;
const RECORD = 'upper';
/** A folder that makes room, on a full disk, for the one the kernel makes in `work`: without it a tree is read-only. */
const SPARE = 'spare';
/** Mode and owner that a ready upper has: those of nearly every root folder. */
const USUAL: RootShape = { mode: 0o755, uid: 0, gid: 0 };

/** Folders of writable layers: `ID/{fs,work}` with `ID.json` beside, in the folder of their slot. */
export class Uppers {
  #slots: string;
  #folderOf: (slot: string) => string;
  #ready = new Map<string, Promise<string>[]>();
  #timers = new Map<string, NodeJS.Timeout>();
  /** The flush of a slot's folder that has not begun yet: all that is made until then shares it. */
  #flushes = new Map<string, Promise<void>>();

  /** @param slots the folder `slots` of the state tree; @param folderOf the folder of a slot's uppers. */
  constructor(slots: string, folderOf: (slot: string) => string) {
    this.#slots = slots;
    this.#folderOf = folderOf;
  }

  /** The folder of all uppers of a slot. Throws while its volume is not mounted. */
  folder(slot: string): string {
    return this.#folderOf(slot);
  }

  /** The folder of one upper. */
  path(slot: string, id: string): string {
    return `${this.folder(slot)}/${id}`;
  }

  /** An empty, durable upper; from those kept ready when there is one. */
  async take(slot: string): Promise<string> {
    const id = await (this.#ready.get(slot)?.shift() ?? this.#make(slot));
    try {
      rmdirSync(`${this.path(slot, id)}/${SPARE}`);
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
    return id;
  }

  /** Puts an upper back that was never written to. */
  giveBack(slot: string, id: string): void {
    this.#pool(slot).push(Promise.resolve(id));
  }

  /** Makes ready what is missing, in a quiet moment if it can wait. Failures show at the next `take`. */
  refill(slot: string): void {
    clearTimeout(this.#timers.get(slot));
    if (this.#pool(slot).length < ENOUGH) this.#fill(slot);
    const timer = setTimeout(() => this.#fill(slot), QUIET_MS);
    timer.unref();
    this.#timers.set(slot, timer);
  }

  #fill(slot: string): void {
    const pool = this.#ready.get(slot);
    while (pool !== undefined && pool.length < READY) {
      const made = this.#make(slot);
      made.catch(() => {
        const at = pool.indexOf(made);
        if (at >= 0) pool.splice(at, 1);
      });
      pool.push(made);
    }
  }

  #pool(slot: string): Promise<string>[] {
    const pool = this.#ready.get(slot) ?? [];
    this.#ready.set(slot, pool);
    return pool;
  }

  async #make(slot: string): Promise<string> {
    const id = randomBytes(8).toString('hex');
    await this.#makeFolders(slot, id);
    return id;
  }

  async #makeFolders(slot: string, id: string): Promise<void> {
    const folder = this.path(slot, id);
    // Not the parents: a slot that has been removed meanwhile does not come back as an empty folder.
    await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
      if (!failedWith(error, 'EEXIST')) throw error;
    });
    await mkdir(`${folder}/fs`, { recursive: true, mode: 0o700 });
    await mkdir(`${folder}/work`, { recursive: true, mode: 0o700 });
    chmodSync(`${folder}/fs`, USUAL.mode); // whatever our umask is
    await mkdir(`${folder}/${SPARE}`, { recursive: true, mode: 0o700 });
    await syncFolder(folder);
    await this.#flush(slot);
  }

  #flush(slot: string): Promise<void> {
    const waiting = this.#flushes.get(slot);
    if (waiting !== undefined) return waiting;
    const flush = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      this.#flushes.delete(slot);
      return syncFolder(this.folder(slot));
    });
    this.#flushes.set(slot, flush);
    return flush;
  }

  /** Gives the upper's root folder what the tree's root shall have: of that folder overlays show the upper's alone. */
  shape(slot: string, id: string, root: RootShape, mtimeNs: bigint): void {
    const path = `${this.path(slot, id)}/fs`;
    const mode = root.mode & 0o7777;
    if (mode !== USUAL.mode || root.uid !== USUAL.uid || root.gid !== USUAL.gid) {
      chownSync(path, root.uid, root.gid);
      chmodSync(path, mode);
    }
    for (const [name, value] of root.xattrs ?? []) writeXattr(path, name, value);
    const seconds = Number(mtimeNs) / 1e9;
    utimesSync(path, seconds, seconds);
  }

  /** Writes what the upper is, beside it: enough to find out by hand what it belongs to. */
  describe(upper: Upper, generation: number): Promise<void> {
    const body = { ...upper, generation };
    return writeRecord(`${this.path(upper.slot, upper.id)}.json`, RECORD, body);
  }

  /** Says beside a folder to be made that it will hold only links to what others hold too. */
  markMerging(slot: string, id: string): Promise<void> {
    return writeRecord(`${this.path(slot, id)}.json`, RECORD, { id, slot, state: 'merging' });
  }

  /** A sealed upper as a read-only layer. Its ids are those the slot's programs have outside: nothing is shifted. */
  lower(slot: string, id: string): Lower {
    const path = `${this.path(slot, id)}/fs`;
    return { mount: new Fd(openSync(path, 'r'), path), attachedAt: path };
  }

  /** Bytes of disk that an upper takes. */
  async size(slot: string, id: string): Promise<number> {
    return (await treeSize(`${this.path(slot, id)}/fs`)).bytes;
  }

  /** True when nothing was ever changed in it: no entry, and a root folder as it was made. */
  isEmpty(slot: string, id: string, root: RootShape): boolean {
    const path = `${this.path(slot, id)}/fs`;
    if (readdirSync(path).length > 0) return false;
    if (JSON.stringify(ownXattrs(path)) !== JSON.stringify(root.xattrs ?? [])) return false;
    const { mode, uid, gid } = statMount(path);
    return (mode & 0o7777) === (root.mode & 0o7777) && uid === root.uid && gid === root.gid;
  }

  /** Removes an upper that nothing refers to. Safe to repeat, and not durable: the rows say that it is gone. */
  async remove(slot: string, id: string): Promise<void> {
    await removeTree(this.path(slot, id));
    rmSync(`${this.path(slot, id)}.json`, { force: true });
  }

  /**
   * After a start: takes up or clears away the ready uppers of an earlier run, and returns the ids of folders that have no row and
   * may hold something. Those stay untouched.
   */
  async adopt(slot: string, known: (id: string) => boolean): Promise<string[]> {
    const unknown: string[] = [];
    mkdirSync(this.folder(slot), { recursive: true, mode: 0o700 });
    const names = readdirSync(this.folder(slot)).map((name) => name.replace(/\.json$/, ''));
    for (const id of new Set(names)) {
      if (id.startsWith('.') || known(id)) continue;
      if (!(await this.#takeUp(slot, id))) unknown.push(id);
    }
    return unknown;
  }

  /** False when there is something in it that no row tells of. A folder nobody wrote to is one that was kept ready. */
  async #takeUp(slot: string, id: string): Promise<boolean> {
    const path = this.path(slot, id);
    if (/^[0-9a-f]{16}$/.test(id) && (await this.#stateOf(slot, id)) === 'merging') {
      await this.remove(slot, id);
      return true;
    }
    if (!/^[0-9a-f]{16}$/.test(id) || count(`${path}/fs`) > 0) return false;
    if (existsSync(`${path}.json`) && (await this.#stateOf(slot, id)) !== 'active') return false;
    if (count(`${path}/work`) > 0) {
      // It was prepared for a swap that was never committed: nobody has written to it.
      if (await upperInUse(path, this.#slots)) return false;
      await this.remove(slot, id);
      return true;
    }
    await this.#makeFolders(slot, id);
    this.giveBack(slot, id);
    return true;
  }

  async #stateOf(slot: string, id: string): Promise<unknown> {
    const record = await readRecord(`${this.path(slot, id)}.json`, RECORD);
    return record?.id === id ? record.state : undefined;
  }

  /** Forgets what is ready in a slot that is being removed, after what is being made. */
  async forget(slot: string): Promise<void> {
    const ready = this.#ready.get(slot) ?? [];
    clearTimeout(this.#timers.get(slot));
    this.#ready.delete(slot);
    await Promise.allSettled(ready);
  }

  /** Ends what is being made ready; what is ready stays for the next start. */
  async close(): Promise<void> {
    await Promise.all([...this.#ready.keys()].map((slot) => this.forget(slot)));
  }
}

/** Attributes of a folder but for those that an overlay itself notes there: these are nobody's data. */
export function ownXattrs(path: string): Xattrs {
  return readXattrs(path).filter(([name]) => !name.startsWith('trusted.overlay.'));
}

function count(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return 0;
    throw error;
  }
}
