import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import { measureDaemon } from './daemon-cost.ts';
import { type Ground, openGround } from './ground.ts';
import { swap } from './one-swap.ts';
import { installed, output } from './programs.ts';
import { idleDisk, images, mountWork } from './swap-idle.ts';
import { underLoad } from './swap-load.ts';
import { inVolume } from './swap-volume.ts';
import { changeTree, makeRunnable, makeTree } from './trees.ts';

/** One line for --list. */
export const summary =
  'swap of a persona over the socket, beside C, spawned tools, podman, nspawn, bwrap, rsync';

/** Time is measured: the best of three. */
export const runs = 3;

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
    // Gigabytes were written, and nobody has waited for them: until they are on the disk it is no idle one.
    execFileSync('sync', { timeout: 300_000 });
    say('swaps on an idle disk');
    const names = sizes.map(({ name }) => name);
    const bars = await idleDisk(ground, names, quick ? 60 : 200);
    bars.push(await mountWork(ground, names[0]!, quick ? 10 : 30));
    say('swaps of a slot in a volume');
    bars.push(await inVolume(ground, names[0]!, quick ? 60 : 200));
    say('swaps with a busy reader');
    bars.push(await busyReader(ground, quick ? 200 : 1000));
    say('swaps under load');
    bars.push(...(await underLoad(ground, names[0]!, quick ? 20 : 60)));
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
