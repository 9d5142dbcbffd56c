import type { Layer } from './layer.ts';
import { stackDigest } from './slot-book.ts';
import type { SlotLog } from './slot-room.ts';
import type { Tree } from './tree.ts';

/** A slot is left alone for so long after its last swap: joining layers flushes, which would stand in the way of another one. */
const QUIET_MS = 300;

/** What a tree is made of: its layers, and the sealed uppers below the new one (top first). */
export interface TreePlan {
  layers: Layer[];
  below: string[];
}

export interface NextTreesParts {
  /** What the slot will most likely be asked for next; undefined when nothing is likely, or it is held already. */
  plan(slot: string): TreePlan | undefined;
  make(slot: string, plan: TreePlan): Promise<Tree>;
  discard(tree: Tree): Promise<void>;
  log: SlotLog;
}

interface Ready {
  key: string;
  tree: Promise<Tree>;
}

function keyOf({ layers, below }: TreePlan): string {
  return [stackDigest(layers), ...below].join(' ');
}

/**
 * One tree of each slot, joined ahead of the swap that will most likely ask for it: on a busy disk joining waits for that disk,
 * seen 35 to 250 ms. It is attached nowhere and has no row, so it ends with the daemon, and a start clears its upper away.
 */
export class NextTrees {
  #parts: NextTreesParts;
  #ready = new Map<string, Ready>();
  #timers = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(parts: NextTreesParts) {
    this.#parts = parts;
  }

  /** Joins the next tree of a slot when nothing has happened in it for a while. */
  consider(slot: string): void {
    if (this.#closed) return;
    clearTimeout(this.#timers.get(slot));
    const timer = setTimeout(() => this.#prepare(slot), QUIET_MS);
    timer.unref();
    this.#timers.set(slot, timer);
  }

  #prepare(slot: string): void {
    this.#timers.delete(slot);
    const plan = this.#parts.plan(slot);
    const ready = this.#ready.get(slot);
    if (plan === undefined || ready?.key === keyOf(plan)) return;
    const tree = this.drop(slot).then(() => this.#parts.make(slot, plan));
    const mine: Ready = { key: keyOf(plan), tree };
    this.#ready.set(slot, mine);
    tree.catch((error: unknown) => {
      if (this.#ready.get(slot) === mine) this.#ready.delete(slot);
      this.#parts.log.warn({ err: error, slot }, 'cannot join the next tree of a slot ahead');
    });
  }

  /** The tree of this plan when it was joined ahead; the caller owns it then. */
  async take(slot: string, plan: TreePlan): Promise<Tree | undefined> {
    const ready = this.#ready.get(slot);
    if (ready === undefined || ready.key !== keyOf(plan)) return undefined;
    this.#ready.delete(slot);
    return ready.tree.catch(() => undefined);
  }

  /** Gives up what was joined for a slot: before anything that lies below it goes. */
  async drop(slot: string): Promise<void> {
    clearTimeout(this.#timers.get(slot));
    this.#timers.delete(slot);
    const ready = this.#ready.get(slot);
    this.#ready.delete(slot);
    const tree = await ready?.tree.catch(() => undefined);
    if (tree !== undefined) await this.#parts.discard(tree);
  }

  /** Gives up everything. */
  async close(): Promise<void> {
    this.#closed = true;
    const slots = new Set([...this.#ready.keys(), ...this.#timers.keys()]);
    await Promise.all([...slots].map((slot) => this.drop(slot)));
  }
}
