import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import { startLoad } from './load.ts';
import { type Swap, swap, twoFsyncs } from './one-swap.ts';
import { median, quantile } from './statistics.ts';

/** Before each measurement, ours and theirs: both meet the disk at a random moment of its work. */
const APART_MS = 100;

/** Swaps to and fro while writers and `sync` keep the disk busy, in turn with two bare fsyncs. */
export async function underLoad(ground: Ground, slot: string, rounds: number): Promise<Bar[]> {
  const load = startLoad(ground.root);
  const swaps: Swap[] = [];
  const fsyncs: number[] = [];
  const measures = [
    async (i: number) => void swaps.push(await swap(ground, slot, (i % 2) as 0 | 1)),
    async () => void fsyncs.push(twoFsyncs(ground.root)),
  ];
  try {
    await pause(2000);
    for (let i = 0; i < rounds; i++) {
      // Neither is always the one that comes behind the other.
      for (const measure of i % 4 < 2 ? measures : measures.toReversed()) {
        await pause(APART_MS);
        await measure(i);
      }
    }
  } finally {
    await load.stop();
  }
  const flips = swaps.map((one) => one.flipMs);
  const ms = median(swaps.map((one) => one.ms));
  const bare = median(fsyncs);
  return [
    atMost('swap under fsync load against two bare fsyncs', ms / bare, 'x', 1.5, rounds, {
      'swap (ms)': ms,
      'two fsyncs (ms)': bare,
    }),
    atMost('visible switch under sync load, median', median(flips), 'ms', 1, rounds),
    atMost('visible switch under sync load, p99', quantile(flips, 0.99), 'ms', 25, rounds),
  ];
}
