import type { Fd } from '../kernel/fd.ts';
import { syncFileSystem } from '../kernel/files.ts';
import { upperInUse } from '../kernel/overlay.ts';
import { type Inside, whoIsInside } from '../kernel/processes.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { UnmountWatch } from '../kernel/unmount-watch.ts';
import type { Upper } from './slot-rows.ts';

/** A tree that was just replaced is not even looked at for so long: going back to it costs nothing meanwhile. */
const HOLD_MS = 1_000;
/** Pause between two looks at who is inside; grows to the second figure while nothing changes. */
const SCAN_MS = 1_000;
const SCAN_MAX_MS = 30_000;
/** Replaced trees of one slot that are kept without need; beyond that the oldest are looked at at once. */
export const HELD_MAX = 256;

/** A superblock that may still be written to, though its slot shows another tree. */
interface Draining {
  upper: Upper;
  /** Keeps it alive, to be shown again; absent once it was let go, or after a restart of the daemon. */
  tree?: Fd;
  device?: string;
  sinceMs: number;
  /** Who was inside when last looked. */
  inside: Inside[];
  /** Resolves when the kernel has ended it and it was sealed. */
  sealed: PromiseWithResolvers<void>;
  /** Resolves when the kernel has ended it, whether or not that could be written down. */
  over: PromiseWithResolvers<void>;
}

function waits(): Pick<Draining, 'sealed' | 'over'> {
  return { sealed: Promise.withResolvers<void>(), over: Promise.withResolvers<void>() };
}

export interface DrainingParts {
  /** The upper's folder. */
  path(upper: Upper): string;
  /** The upper is complete and immutable now, and on the disk: write it down. */
  seal(upper: Upper): Promise<void>;
  /** Whether who could not be told, and so may be inside of any tree, counts as inside of this one. */
  mayHold(upper: Upper, one: Inside): boolean;
  /** False when nothing was ever changed in it. */
  isWritten(upper: Upper): boolean;
  /** Any readable folder: see `upperInUse`. */
  anyFolder: string;
  log: { warn(facts: object, message: string): void };
}

/**
 * What was replaced and has not ended. A tree is let go when nobody is seen inside; the kernel then says when its superblock
 * has ended, and only that makes its upper sealed. Until then the upper is in that superblock and in no other.
 */
export class DrainKeeper {
  #parts: DrainingParts;
  #entries = new Map<string, Draining>();
  #watched = new Set<string>();
  #watch = new UnmountWatch();
  #ended = new Set<string>();
  #sealing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pause = SCAN_MS;
  #closed = false;

  constructor(parts: DrainingParts) {
    this.#parts = parts;
  }

  /** Keeps the tree that was just replaced. From here the keeper owns `tree`. */
  hold(upper: Upper, tree: Fd, device: string): void {
    const entry = { upper, tree, device, sinceMs: performance.now(), inside: [], ...waits() };
    this.#entries.set(upper.id, entry);
    if (!this.#watched.has(upper.id)) {
      this.#watch.watch(tree, () => this.#onEnd(upper.id));
      this.#watched.add(upper.id);
    }
    this.#pause = SCAN_MS;
    const crowded = this.of(upper.slot).length > HELD_MAX;
    this.#schedule(crowded ? 0 : HOLD_MS);
  }

  /** Watches an upper of an earlier run of the daemon, which nobody holds for us. */
  await(upper: Upper): void {
    if (this.#entries.has(upper.id)) return;
    this.#entries.set(upper.id, { upper, sinceMs: 0, inside: [], ...waits() });
    this.#schedule(0);
  }

  /** The held tree of an upper, to be shown again; the caller owns it then. Undefined when there is none. */
  take(upperId: string): Fd | undefined {
    const entry = this.#entries.get(upperId);
    if (entry?.tree === undefined) return undefined;
    this.#entries.delete(upperId);
    return entry.tree;
  }

  /** True while the upper is in a superblock that no slot shows. */
  has(upperId: string): boolean {
    return this.#entries.has(upperId);
  }

  /** Uppers of a slot that have not ended, with who was last seen inside. */
  of(slot: string): { upper: Upper; held: boolean; inside: Inside[] }[] {
    return [...this.#entries.values()]
      .filter(({ upper }) => upper.slot === slot)
      .map(({ upper, tree, inside }) => ({ upper, held: tree !== undefined, inside }));
  }

  /** Devices of the trees of a slot that have not ended. */
  devices(slot: string): Set<string> {
    const found = new Set<string>();
    for (const { upper, device } of this.#entries.values()) {
      if (upper.slot === slot && device !== undefined) found.add(device);
    }
    return found;
  }

  /** Lets go of the trees of a slot, whoever is inside, and resolves true when all have ended, false after `deadlineMs`. */
  async end(slot: string, deadlineMs: number): Promise<boolean> {
    const entries = [...this.#entries.values()].filter(({ upper }) => upper.slot === slot);
    for (const entry of entries) await this.#letGo(entry);
    return this.#within(Promise.all(entries.map(({ over }) => over.promise)), deadlineMs);
  }

  /** Resolves true when this upper was sealed, false after `deadlineMs`. */
  async ended(upperId: string, deadlineMs: number): Promise<boolean> {
    const entry = this.#entries.get(upperId);
    if (entry === undefined) return true;
    this.#watch.hurry();
    this.#schedule(0);
    return this.#within(entry.sealed.promise, deadlineMs);
  }

  async #within(work: Promise<unknown>, deadlineMs: number): Promise<boolean> {
    const late = Promise.withResolvers<false>();
    const timer = setTimeout(() => late.resolve(false), deadlineMs);
    try {
      return await Promise.race([work.then(() => true), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #schedule(afterMs: number): void {
    if (this.#closed || this.#entries.size === 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#scan().then(
        (changed) => {
          this.#pause = changed ? SCAN_MS : Math.min(this.#pause * 1.5, SCAN_MAX_MS);
          this.#schedule(this.#pause);
        },
        (error: unknown) => {
          this.#parts.log.warn(
            { err: error },
            'cannot look for programs in replaced trees; trying again',
          );
          this.#schedule(SCAN_MAX_MS);
        },
      );
    }, afterMs);
    this.#timer.unref();
  }

  /** One look at all entries. True when something was let go or has ended. */
  async #scan(): Promise<boolean> {
    const entries = [...this.#entries.values()];
    const devices = new Set(
      entries.flatMap(({ device }) => (device === undefined ? [] : [device])),
    );
    const inside = await whoIsInside(devices);
    let changed = false;
    for (const entry of entries) {
      if (this.#entries.get(entry.upper.id) !== entry) continue; // taken meanwhile
      entry.inside = inside.filter(
        (one) =>
          (one.device ?? entry.device) === entry.device && this.#parts.mayHold(entry.upper, one),
      );
      const young = performance.now() - entry.sinceMs < HOLD_MS;
      const crowded = this.of(entry.upper.slot).length > HELD_MAX;
      if (entry.tree !== undefined && entry.inside.length === 0 && (!young || crowded)) {
        await this.#letGo(entry);
        changed = true;
      } else if (entry.tree === undefined && !this.#watched.has(entry.upper.id)) {
        changed = (await this.#asked(entry)) || changed;
      }
    }
    return changed;
  }

  /** No watch could be set on this one (an earlier run held it): asks the kernel whether its upper is free. */
  async #asked(entry: Draining): Promise<boolean> {
    if (await upperInUse(this.#parts.path(entry.upper), this.#parts.anyFolder)) return false;
    this.#onEnd(entry.upper.id);
    return true;
  }

  async #letGo(entry: Draining): Promise<void> {
    const { tree } = entry;
    if (tree === undefined) return;
    delete entry.tree;
    await tree.closeLater();
    this.#watch.hurry();
    this.#watch.look();
  }

  /** Forgets what has ended of a slot that is being removed. */
  forget(slot: string): void {
    for (const { upper } of this.of(slot)) this.#entries.delete(upper.id);
  }

  #onEnd(upperId: string): void {
    this.#watched.delete(upperId);
    if (!this.#entries.has(upperId)) return;
    this.#ended.add(upperId);
    this.#sealing ??= this.#sealAll().finally(() => {
      this.#sealing = undefined;
    });
  }

  /** Seals what has ended; whatever ends meanwhile shares the next flush of the file system. */
  async #sealAll(): Promise<void> {
    while (this.#ended.size > 0) {
      const ids = [...this.#ended];
      this.#ended.clear();
      const entries = ids.flatMap((id) => this.#entries.get(id) ?? []);
      try {
        // An upper without a change is dropped: there is nothing to wait for the disk with.
        const written = entries.filter(({ upper }) => this.#parts.isWritten(upper));
        await this.#flush(written.map(({ upper }) => this.#parts.path(upper)));
        for (const entry of entries) await this.#sealOne(entry);
      } catch (error) {
        // They stay `draining` in the rows meanwhile; a full disk is the usual reason, and each look tries again.
        this.#parts.log.warn({ err: error, uppers: ids }, 'cannot seal uppers; trying again');
        await this.#tellOver(entries);
      }
    }
  }

  /** Each file system once: slots may have theirs in volumes. */
  async #flush(paths: string[]): Promise<void> {
    const first = new Map<string, string>();
    for (const path of paths) first.set(statMount(path).device, path);
    for (const path of first.values()) await syncFileSystem(path);
  }

  /** Nothing writes to these any more, though they could not be sealed: their slot may be removed. */
  async #tellOver(entries: Draining[]): Promise<void> {
    for (const { upper, over } of entries) {
      const busy = await upperInUse(this.#parts.path(upper), this.#parts.anyFolder).catch(
        () => true,
      );
      if (!busy) over.resolve();
    }
  }

  async #sealOne(entry: Draining): Promise<void> {
    const path = this.#parts.path(entry.upper);
    // The event comes a moment before the kernel lets go of the folder.
    for (let tries = 0; await upperInUse(path, this.#parts.anyFolder); tries += 1) {
      if (tries > 200) throw new Error(`upper ${entry.upper.id} has ended and is still in use`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await this.#parts.seal(entry.upper);
    this.#entries.delete(entry.upper.id);
    entry.sealed.resolve();
    entry.over.resolve();
  }

  /** Lets go of all trees, and waits for what has ended to be sealed. For the stop of the daemon. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const entry of this.#entries.values()) await this.#letGo(entry);
    this.#watch.look();
    await this.#sealing;
    this.#watch.close();
  }
}
