import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { Fd } from '../kernel/fd.ts';
import { syncFileSystem, syncFolder } from '../kernel/files.ts';
import { mergeFolders } from '../kernel/merge-folders.ts';
import { openFolder } from '../kernel/openat.ts';
import type { Store } from '../store/store.ts';
import type { SlotBook } from './slot-book.ts';
import type { SlotLog } from './slot-room.ts';
import { putUpper, type Upper } from './slot-rows.ts';
import type { Uppers } from './uppers.ts';

/** Stacks of more sealed uppers than this are merged: each one costs every lookup of a missing name. */
export const DEPTH_GOAL = 8;

/**
 * The sealed uppers that together are the state `upper` ended with, top first: what a new upper goes on. Where some of them were
 * merged, the merged one stands for all of them. Those without content are left out.
 */
export function chainOf(book: SlotBook, upper: Upper): string[] {
  const chain: string[] = [];
  for (const id of [upper.id, ...upper.below]) {
    const one = book.upper(id);
    const merged = one.mergedAs;
    if (merged !== undefined && book.knowsUpper(merged)) {
      const whole = book.upper(merged);
      return [...chain, whole.id, ...whole.below];
    }
    if (one.state === 'sealed') chain.push(id);
  }
  return chain;
}

/** What merging needs. */
export interface FlattenParts {
  store: Store;
  book: SlotBook;
  uppers: Uppers;
  log: SlotLog;
  now(): number;
}

/** Merges deep stacks of sealed uppers into one, in the background, one at a time. */
export class Flattener {
  #parts: FlattenParts;
  #running = new Map<string, { stop: AbortController; done: Promise<void> }>();

  constructor(parts: FlattenParts) {
    this.#parts = parts;
  }

  /** Begins to merge what `upper` (just sealed) lies on, when that is deep and nothing is being merged in its slot. */
  consider(upper: Upper): void {
    if (this.#running.has(upper.slot)) return;
    const chain = chainOf(this.#parts.book, upper);
    if (chain.length <= DEPTH_GOAL || chain[0] !== upper.id) return;
    const stop = new AbortController();
    const done = this.#merge(upper, chain, stop.signal)
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        const facts = { err: error, slot: upper.slot, upper: upper.id };
        this.#parts.log.warn(
          facts,
          'cannot merge the earlier states of a slot; they stay as they are',
        );
      })
      .finally(() => void this.#running.delete(upper.slot));
    this.#running.set(upper.slot, { stop, done });
  }

  /** Resolves when nothing is being merged in this slot, or in any; `abort` ends it early. */
  async settled(slot?: string, abort = false): Promise<void> {
    for (const [name, { stop, done }] of this.#running) {
      if (slot !== undefined && slot !== name) continue;
      if (abort) stop.abort();
      await done;
    }
  }

  async #merge(upper: Upper, chain: string[], stop: AbortSignal): Promise<void> {
    const { uppers, store, book, now } = this.#parts;
    const { slot } = upper;
    const id = randomBytes(8).toString('hex');
    const merged: Upper = { ...upper, id, below: [], createdMs: now(), endedMs: now() };
    await uppers.markMerging(slot, id);
    try {
      await this.#link(slot, id, chain, stop);
      await syncFileSystem(uppers.path(slot, id));
      await uppers.describe(merged, 0);
      // A collection may have taken a part away meanwhile; then the whole is not to be trusted.
      if (!chain.every((part) => book.knowsUpper(part))) throw new Error('a part was collected');
      stop.throwIfAborted();
      const marked: Upper = { ...book.upper(upper.id), mergedAs: id };
      await store.commit((tx) => {
        putUpper(tx, merged);
        putUpper(tx, marked);
      });
      book.putUpper(merged);
      book.putUpper(marked);
    } catch (error) {
      await uppers.remove(slot, id);
      throw error;
    }
  }

  async #link(slot: string, id: string, chain: string[], stop: AbortSignal): Promise<void> {
    const { uppers } = this.#parts;
    const path = uppers.path(slot, id);
    await mkdir(`${path}/fs`, { recursive: true, mode: 0o700 });
    await mkdir(`${path}/work`, { mode: 0o700 });
    await syncFolder(path);
    const layers: Fd[] = [];
    try {
      for (const part of chain) layers.push(openFolder(`${uppers.path(slot, part)}/fs`));
      using target = openFolder(`${path}/fs`);
      await mergeFolders(layers, target, stop);
    } finally {
      for (const layer of layers) layer.close();
    }
  }
}
