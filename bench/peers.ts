/**
 * Other ways to do the same job. As a program: `peers.ts PAIR_JSON ROUNDS` prints the figures as JSON.
 */
import { cpSync, mkdirSync } from 'node:fs';
import { installed, timed } from './programs.ts';
import { median } from './statistics.ts';

/** The images and trees of two personas, for peers to change between. */
export interface Pair {
  baseImage: string;
  diffImages: [string, string];
  /** The same two personas as plain trees. */
  trees: [string, string];
  /** An empty folder of the peers' own. */
  work: string;
}

type Turn = (which: 0 | 1) => Promise<number>;

/**
 * Times other ways to put a persona in the place of another, one round of each after the other.
 * @returns median milliseconds by name, or the reason why a way was left out.
 */
export async function peers(pair: Pair, rounds: number): Promise<Record<string, number | string>> {
  const found: Record<string, number | string> = {};
  const turns: Record<string, Turn> = {};
  const ways: Record<string, [tool: string, make: (pair: Pair) => Promise<Turn>]> = {
    'spawned mount tools': ['mount', mountTools],
    bwrap: ['bwrap', bwrap],
    'systemd-nspawn': ['systemd-nspawn', nspawn],
    podman: ['podman', podman],
    rsync: ['rsync', rsync],
  };
  for (const [name, [tool, make]] of Object.entries(ways)) {
    if (!installed(tool)) {
      found[name] = `${tool} is not installed`;
      continue;
    }
    try {
      const turn = await make(pair);
      await turn(0);
      await turn(1);
      turns[name] = turn;
    } catch (error) {
      found[name] = `does not run here: ${String((error as Error).message)
        .split('\n')
        .slice(0, 2)
        .join(' ')
        .slice(0, 120)}`;
    }
  }
  const samples: Record<string, number[]> = {};
  for (let i = 0; i < rounds; i++) {
    for (const [name, turn] of Object.entries(turns)) {
      samples[name] ??= [];
      samples[name].push(await turn((i % 2) as 0 | 1));
    }
  }
  for (const [name, values] of Object.entries(samples)) found[name] = median(values);
  return found;
}

/** The same mounts as ours, made by the tools a script would use: the slot is empty in between. */
async function mountTools(pair: Pair): Promise<Turn> {
  const place = `${pair.work}/tools`;
  for (const folder of ['base', 'diff', 'upper', 'over', 'slot']) {
    mkdirSync(`${place}/${folder}`, { recursive: true });
  }
  await timed('mount', ['-t', 'tmpfs', 'tools', `${place}/over`]);
  await timed('mount', ['-t', 'erofs', '-o', 'loop,ro', pair.baseImage, `${place}/base`]);
  let mounted = false;
  let number = 0;
  return async (which) => {
    const upper = `${place}/upper/${++number}`;
    mkdirSync(`${upper}/fs`, { recursive: true });
    mkdirSync(`${upper}/work`, { recursive: true });
    let ms = 0;
    if (mounted) {
      ms += await timed('umount', [`${place}/slot`]);
      ms += await timed('umount', [`${place}/diff`]);
    }
    ms += await timed('mount', [
      '-t',
      'erofs',
      '-o',
      'loop,ro',
      pair.diffImages[which],
      `${place}/diff`,
    ]);
    const layers = `lowerdir=${place}/diff:${place}/base,upperdir=${upper}/fs,workdir=${upper}/work`;
    ms += await timed('mount', ['-t', 'overlay', '-o', layers, 'overlay', `${place}/slot`]);
    mounted = true;
    return ms;
  };
}

async function bwrap(pair: Pair): Promise<Turn> {
  return (which) =>
    timed('bwrap', [
      '--bind',
      pair.trees[which],
      '/',
      '--dev',
      '/dev',
      '--proc',
      '/proc',
      '--unshare-all',
      '/bin/true',
    ]);
}

async function nspawn(pair: Pair): Promise<Turn> {
  return (which) =>
    timed('systemd-nspawn', [
      ...['-q', '-D', pair.trees[which], '--as-pid2', '--register=no', '--keep-unit', '/bin/true'],
    ]);
}

async function podman(pair: Pair): Promise<Turn> {
  const runtime = ['runc', 'crun'].find(installed) ?? 'runc';
  return (which) =>
    timed('podman', [
      ...['--cgroup-manager=cgroupfs', `--runtime=${runtime}`, 'run', '--rm', '--network=none'],
      ...[
        '--ulimit=nofile=1024:1024',
        '--ulimit=nproc=1024:1024',
        '--rootfs',
        pair.trees[which],
        '/bin/true',
      ],
    ]);
}

/** The other persona copied over the slot, as a script without mounts would. */
async function rsync(pair: Pair): Promise<Turn> {
  const slot = `${pair.work}/rsync`;
  cpSync(pair.trees[0], slot, {
    recursive: true,
    preserveTimestamps: true,
    verbatimSymlinks: true,
  });
  return (which) => timed('rsync', ['-aHAX', '--delete', `${pair.trees[which]}/`, slot]);
}

if (process.argv[1] === import.meta.filename) {
  const pair = JSON.parse(process.argv[2] ?? '{}') as Pair;
  console.log(JSON.stringify(await peers(pair, Number(process.argv[3]))));
}
