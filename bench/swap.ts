import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import { measureDaemon } from './daemon-cost.ts';
import { type Ground, openGround } from './ground.ts';
import { startLoad } from './load.ts';
import { compileFloor, floorFigures, installed, output } from './programs.ts';
import { median, quantile } from './statistics.ts';
import { changeTree, makeRunnable, makeTree } from './trees.ts';

/** One line for --list. */
export const summary =
  'swap of a persona over the socket, beside C, spawned tools, podman, nspawn, bwrap, rsync';

interface Size {
  name: string;
  bytes: number;
  files: number;
}
const SIZES: Size[] = [
  { name: 's100m', bytes: 100e6, files: 4_000 },
  { name: 's1g', bytes: 1e9, files: 16_000 },
  { name: 's5g', bytes: 5e9, files: 40_000 },
];

interface Swap {
  ms: number;
  mountMs: number;
  flipMs: number;
  resumed: boolean;
}

/** Runs the bench; `quick` leaves the 5 GB base out and takes fewer samples. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const ground = await openGround();
  try {
    const sizes = quick ? SIZES.slice(0, 2) : SIZES;
    for (const size of sizes) {
      say(`making a base of ${size.name.slice(1)} and two personas of it`);
      await prepare(ground, size);
    }
    const work = `${ground.root}/peers`;
    mkdirSync(work);
    say('swaps on an idle disk');
    const bars = await idleDisk(ground, sizes, quick ? 60 : 200);
    say('swaps with a busy reader');
    bars.push(await busyReader(ground, quick ? 200 : 1000));
    say('swaps under load');
    bars.push(...(await underLoad(ground, quick ? 20 : 60)));
    say('others at the same job');
    bars.push(...(await besidePeers(ground, bars[0]!, work, quick ? 5 : 15)));
    say('calls, start, idle');
    await ground.reconnect();
    bars.push(...(await measureDaemon(ground, quick)));
    return bars;
  } finally {
    await ground.stop();
  }
}

/** Progress, for a person who waits; results go to standard output. */
function say(what: string): void {
  console.error(`bench: ${what}`);
}

/** A base of `size`, two personas of it and a slot, all named after the size. */
async function prepare(ground: Ground, { name, bytes, files }: Size): Promise<void> {
  const tree = `${ground.root}/${name}`;
  makeTree(tree, bytes, files);
  makeRunnable(tree);
  await ground.tool('base', 'import', name, '--from', tree);
  for (const label of ['a', 'b']) {
    changeTree(tree, files, label);
    const osp = `${ground.root}/${name}-${label}.osp`;
    await ground.tool(
      'persona',
      'create',
      `${name}-${label}`,
      '--base',
      name,
      '--from-tree',
      tree,
      '-o',
      osp,
    );
    if (name === 's100m')
      cpSync(tree, `${ground.root}/tree-${label}`, { recursive: true, verbatimSymlinks: true });
  }
  rmSync(tree, { recursive: true });
  await ground.tool('slot', 'create', name);
  await ground.reconnect();
  for (const which of [0, 1] as const) await swap(ground, name, which);
}

async function swap(ground: Ground, slot: string, which: 0 | 1): Promise<Swap> {
  const params = { slot, persona: `${slot}-${which === 0 ? 'a' : 'b'}`, wait: true };
  const start = performance.now();
  const { result } = await ground.client.call('slot.swap', params);
  const ms = performance.now() - start;
  if (result === undefined) throw new Error('the swap answered without its result');
  const { prepareMs, flipMs } = result.timing;
  return { ms, mountMs: prepareMs + flipMs, flipMs, resumed: result.resumed };
}

/** Waits until no ended generation of the slot is held: the next swap must make a tree, not find one. */
async function settled(ground: Ground, slot: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const { slots } = await ground.client.call('slot.list', {});
    if (slots.find(({ name }) => name === slot)?.draining.length === 0) return;
    await pause(5);
  }
}

async function idleDisk(ground: Ground, sizes: Size[], rounds: number): Promise<Bar[]> {
  const samples = new Map<string, Swap[]>(sizes.map(({ name }) => [name, []]));
  const fsyncs: number[] = [];
  const floor = await swapFloor(ground, rounds);
  for (let i = 0; i < rounds; i++) {
    for (const { name } of sizes) {
      await settled(ground, name);
      // Clearing up after the swap before it is not what an idle disk means.
      await pause(150);
      samples.get(name)!.push(await swap(ground, name, (i % 2) as 0 | 1));
    }
    fsyncs.push(twoFsyncs(ground.root));
  }
  const of = (name: string) => samples.get(name)!;
  const small = of(sizes[0]!.name);
  const ms = small.map((one) => one.ms);
  const resumed = small.filter((one) => one.resumed).length;
  const others = Object.fromEntries(
    sizes
      .slice(1)
      .map(({ name }) => [`base ${name.slice(1)}`, median(of(name).map((one) => one.ms))]),
  );
  const beside = { 'two fsyncs': median(fsyncs), ...others };
  const last = sizes.at(-1)!.name;
  const growth = median(of(last).map((one) => one.ms)) / median(ms);
  const mountMs = median(small.map((one) => one.mountMs));
  return [
    atMost('swap over the socket, median', median(ms), 'ms', 2, rounds, beside),
    atMost('swap over the socket, p99', quantile(ms, 0.99), 'ms', 10, rounds, {
      'resumed state': resumed,
    }),
    atMost(
      'its mount work against C',
      mountMs / (floor ?? Number.NaN),
      'x',
      floor === undefined ? null : 1.5,
      rounds,
      {
        'ours (ms)': mountMs,
        'C (ms)': floor ?? 'gcc is not installed',
      },
    ),
    atMost(`growth from 100 MB to ${last.slice(1)}`, growth, 'x', 1.15, rounds),
  ];
}

/** Median milliseconds of the same mounts made by one C process. */
async function swapFloor(ground: Ground, rounds: number): Promise<number | undefined> {
  const program = compileFloor('swap-floor', `${ground.root}/swap-floor`);
  if (program === undefined) return undefined;
  const { base, diffs } = await images(ground);
  const uppers = `${ground.root}/floor-uppers`;
  const slot = `${ground.root}/floor-slot`;
  mkdirSync(uppers);
  mkdirSync(slot);
  const args = [
    '--mount',
    '--propagation',
    'private',
    program,
    base,
    ...diffs,
    uppers,
    slot,
    String(rounds),
  ];
  return median(await floorFigures('unshare', args)) / 1000;
}

async function images(ground: Ground): Promise<{ base: string; diffs: [string, string] }> {
  const shown = (await ground.client.call('base.show', { base: 's100m' })).base;
  const base = `${ground.root}/state/layers/${shown.digest.replace(':', '-')}.erofs`;
  const diffs = ['a', 'b'].map((label) => {
    const image = `${ground.root}/diff-${label}.img`;
    output('tar', ['-xOf', `${ground.root}/s100m-${label}.osp`, 'diff_image.img'], image);
    return image;
  });
  return { base, diffs: diffs as [string, string] };
}

function twoFsyncs(folder: string): number {
  const fd = openSync(`${folder}/fsync-probe`, 'a');
  const block = Buffer.alloc(4096, 1);
  writeSync(fd, block);
  const start = performance.now();
  fsyncSync(fd);
  writeSync(fd, block);
  fsyncSync(fd);
  const ms = performance.now() - start;
  closeSync(fd);
  return ms;
}

async function busyReader(ground: Ground, rounds: number): Promise<Bar> {
  const file = `${ground.tree('s100m')}/etc/persona-label`;
  const reader = spawn(process.execPath, [
    '--no-warnings',
    `${import.meta.dirname}/reader.ts`,
    file,
  ]);
  let printed = '';
  reader.stdout.on('data', (part) => {
    printed += part;
  });
  await pause(200);
  for (let i = 0; i < rounds; i++) await swap(ground, 's100m', (i % 2) as 0 | 1);
  const ended = once(reader, 'exit');
  reader.stdin.end();
  await ended;
  const { reads, failures, changes } = JSON.parse(printed) as Record<string, number>;
  return atMost(`failed reads of a busy reader in ${rounds} swaps`, failures!, 'reads', 0, reads!, {
    'changes it saw': changes!,
  });
}

async function underLoad(ground: Ground, rounds: number): Promise<Bar[]> {
  const load = startLoad(ground.root);
  const swaps: Swap[] = [];
  const fsyncs: number[] = [];
  try {
    await pause(2000);
    for (let i = 0; i < rounds; i++) {
      fsyncs.push(twoFsyncs(ground.root));
      swaps.push(await swap(ground, 's100m', (i % 2) as 0 | 1));
      await settled(ground, 's100m');
    }
  } finally {
    await load.stop();
  }
  const flips = swaps.map((one) => one.flipMs);
  const ms = median(swaps.map((one) => one.ms));
  return [
    atMost('swap under fsync load against two bare fsyncs', ms / median(fsyncs), 'x', 1.5, rounds, {
      'swap (ms)': ms,
      'two fsyncs (ms)': median(fsyncs),
    }),
    atMost('visible switch under sync load, median', median(flips), 'ms', 1, rounds),
    atMost('visible switch under sync load, p99', quantile(flips, 0.99), 'ms', 25, rounds),
  ];
}

async function besidePeers(
  ground: Ground,
  ours: Bar,
  work: string,
  rounds: number,
): Promise<Bar[]> {
  const { base, diffs } = await images(ground);
  const trees: [string, string] = [`${ground.root}/tree-a`, `${ground.root}/tree-b`];
  // The peers mount and unmount in a namespace of their own: what one leaves behind ends with it.
  const pair = JSON.stringify({ baseImage: base, diffImages: diffs, trees, work });
  const program = [
    process.execPath,
    '--no-warnings',
    `${import.meta.dirname}/peers.ts`,
    pair,
    String(rounds),
  ];
  if (!installed('unshare')) return [];
  const printed = output(
    'unshare',
    ['--mount', '--propagation', 'private', ...program],
    `${work}/figures.json`,
  );
  const figures = JSON.parse(readFileSync(printed, 'utf8')) as Bar['peer'];
  return [
    atMost('the same job by others (ms), ours first', ours.value, 'ms', null, rounds, figures),
  ];
}
