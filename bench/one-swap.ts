import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Ground } from './ground.ts';

/** One swap as the caller saw it, with what the daemon says of its parts; milliseconds. */
export interface Swap {
  ms: number;
  mountMs: number;
  flipMs: number;
}

/** Swaps `slot` to its persona `a` (0) or `b` (1), or to those of another slot; `fresh` to one without a past. */
export async function swap(
  ground: Ground,
  slot: string,
  which: 0 | 1,
  { fresh = false, personas = slot }: { fresh?: boolean; personas?: string } = {},
): Promise<Swap> {
  const params = { slot, persona: `${personas}-${which === 0 ? 'a' : 'b'}`, wait: true, fresh };
  const start = performance.now();
  const { result } = await ground.client.call('slot.swap', params);
  const ms = performance.now() - start;
  if (result === undefined) throw new Error('the swap answered without its result');
  const { prepareMs, flipMs } = result.timing;
  return { ms, mountMs: prepareMs + flipMs, flipMs };
}

/** Waits until no ended generation of the slot is held: the next swap must show another tree than before. */
export async function settled(ground: Ground, slot: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const { slots } = await ground.client.call('slot.list', {});
    if (slots.find(({ name }) => name === slot)?.draining.length === 0) return;
    await pause(25);
  }
}

/** Milliseconds that two small appends, each followed by fsync, take in `folder`. */
export function twoFsyncs(folder: string): number {
  const fd = openSync(`${folder}/fsync-probe`, 'a');
  const block = Buffer.alloc(4096, 1);
  const start = performance.now();
  for (let i = 0; i < 2; i++) {
    writeSync(fd, block);
    fsyncSync(fd);
  }
  const ms = performance.now() - start;
  closeSync(fd);
  return ms;
}
