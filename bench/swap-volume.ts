import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import { swap } from './one-swap.ts';
import { median, quantile } from './statistics.ts';

/** As between the swaps of an idle disk. */
const APART_MS = 30;
const SLOT = 'in-volume';

/** Swaps to and fro in a slot that lies in a volume, in turn with `slot`, which lies in the state tree and has the same personas. */
export async function inVolume(ground: Ground, slot: string, rounds: number): Promise<Bar> {
  await ground.tool('volume', 'create', 'user', '--size', '256M');
  try {
    await ground.tool('slot', 'create', SLOT, '--volume', 'user');
    await ground.reconnect();
    return await measured(ground, slot, rounds);
  } finally {
    await ground.tool('slot', 'rm', SLOT, '--discard').catch(() => undefined);
    await ground.tool('volume', 'rm', 'user', '--discard');
    await ground.reconnect();
  }
}

async function measured(ground: Ground, slot: string, rounds: number): Promise<Bar> {
  const inTree: number[] = [];
  const inside: number[] = [];
  for (const which of [0, 1] as const) await swap(ground, SLOT, which, { personas: slot });
  for (let i = 0; i < rounds; i++) {
    const which = (i % 2) as 0 | 1;
    await pause(APART_MS);
    inTree.push((await swap(ground, slot, which)).ms);
    await pause(APART_MS);
    inside.push((await swap(ground, SLOT, which, { personas: slot })).ms);
  }
  return atMost('swap of a slot in a volume, median', median(inside), 'ms', 2, rounds, {
    'in the state tree': median(inTree),
    'p99 in the volume': quantile(inside, 0.99),
    'p99 in the state tree': quantile(inTree, 0.99),
  });
}
