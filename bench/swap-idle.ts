import { mkdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import { type Swap, settled, swap, twoFsyncs } from './one-swap.ts';
import { compileFloor, output, startFloor } from './programs.ts';
import { median, quantile } from './statistics.ts';

/** Between two swaps: longer than what is written behind a swap takes, so that it is not in the next one's way. */
const APART_MS = 30;
/** After an ended state was sealed: the daemon joins the likely next tree when a slot was quiet for 300 ms. */
const JOINED_MS = 600;

/** Swaps to and fro in the slots of `names`, smallest base first, on an idle disk. */
export async function idleDisk(ground: Ground, names: string[], rounds: number): Promise<Bar[]> {
  const samples = new Map<string, number[]>(names.map((name) => [name, []]));
  const fsyncs: number[] = [];
  for (let i = 0; i < rounds; i++) {
    for (const [at, name] of names.entries()) {
      await pause(APART_MS);
      samples.get(name)!.push((await swap(ground, name, (i % 2) as 0 | 1)).ms);
      // What comes behind them is slower, after a longer rest and a commit of the file system: each in its turn.
      if (at !== i % names.length) continue;
      await pause(APART_MS);
      fsyncs.push(twoFsyncs(ground.root));
    }
  }
  const small = samples.get(names[0]!)!;
  const others = names
    .slice(1)
    .map((name) => [`base ${name.slice(1)}`, median(samples.get(name)!)] as const);
  const growth = median(samples.get(names.at(-1)!)!) / median(small);
  return [
    atMost('swap over the socket, median', median(small), 'ms', 2, rounds, {
      'two fsyncs': median(fsyncs),
      ...Object.fromEntries(others),
    }),
    atMost('swap over the socket, p99', quantile(small, 0.99), 'ms', 10, rounds),
    atMost(`growth from 100 MB to ${names.at(-1)!.slice(1)}`, growth, 'x', 1.15, rounds),
  ];
}

/**
 * The mounts of a swap beside the same mounts from C, in turn. The state it goes back to has ended each time, so
 * that there is another tree to show than the one before; `ours, a fresh one` had nothing made ahead.
 */
export async function mountWork(ground: Ground, slot: string, rounds: number): Promise<Bar> {
  const floor = await swapFloor(ground, rounds);
  const [ours, fresh, c]: [Swap[], Swap[], number[]] = [[], [], []];
  for (let i = 0; i < rounds; i++) {
    await settled(ground, slot);
    await pause(JOINED_MS);
    ours.push(await swap(ground, slot, (i % 2) as 0 | 1));
    await pause(JOINED_MS);
    if (floor !== undefined) c.push((await floor.next()) / 1000);
  }
  for (let i = 0; i < rounds; i++) {
    await pause(JOINED_MS);
    fresh.push(await swap(ground, slot, (i % 2) as 0 | 1, { fresh: true }));
  }
  floor?.stop();
  const ms = median(ours.map((one) => one.mountMs));
  const limit = floor === undefined ? null : 1.5;
  return atMost('its mount work against C', ms / median(c), 'x', limit, rounds, {
    'ours (ms)': ms,
    'C (ms)': floor === undefined ? 'gcc is not installed' : median(c),
    'ours, a fresh one (ms)': median(fresh.map((one) => one.mountMs)),
    'whole swap after a rest, to an ended state (ms)': median(ours.map((one) => one.ms)),
  });
}

/** The same mounts made by one C process, one round at a time. */
async function swapFloor(ground: Ground, rounds: number) {
  const program = compileFloor('swap-floor', `${ground.root}/swap-floor`);
  if (program === undefined) return undefined;
  const { base, diffs } = await images(ground);
  const uppers = `${ground.root}/floor-uppers`;
  const slot = `${ground.root}/floor-slot`;
  mkdirSync(uppers);
  mkdirSync(slot);
  const words = [program, base, ...diffs, uppers, slot, String(rounds)];
  return startFloor('unshare', ['--mount', '--propagation', 'private', ...words]);
}

/** Images of the smallest base and of its two personas, as files. */
export async function images(ground: Ground): Promise<{ base: string; diffs: [string, string] }> {
  const shown = (await ground.client.call('base.show', { base: 's100m' })).base;
  const base = `${ground.root}/state/layers/${shown.digest.replace(':', '-')}.erofs`;
  const diffs = ['a', 'b'].map((label) => {
    const image = `${ground.root}/diff-${label}.img`;
    return output('tar', ['-xOf', `${ground.root}/s100m-${label}.osp`, 'diff_image.img'], image);
  });
  return { base, diffs: diffs as [string, string] };
}
