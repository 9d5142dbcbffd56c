import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Request } from '../../daemon/api/rooms.ts';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import { type Log, silentLog } from '../../daemon/changes/log.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { type Settings, settingsOf } from '../../daemon/config/settings.ts';
import { type Daemon, type Hooks, startDaemon } from '../../daemon/wiring.ts';
import { mountImage } from './mount-image.ts';
import { unmountBelow } from './mount-scratch.ts';
import { run } from './needs.ts';

const settings = settingsOf([
  { key: 'space.reserve', value: '8MiB', origin: 'test:1' },
  { key: 'space.keep_free', value: '16MiB', origin: 'test:2' },
  { key: 'space.keep_free_percent', value: 0, origin: 'test:3' },
]);

/** No space is kept, so that what is free does not matter, and no generation but what is active. */
export const keepingNothing = settingsOf([
  { key: 'space.reserve', value: 0, origin: 'test:1' },
  { key: 'space.keep_free', value: 0, origin: 'test:2' },
  { key: 'space.keep_free_percent', value: 0, origin: 'test:3' },
  { key: 'slots.keep_generations', value: 0, origin: 'test:4' },
]);

/** Root, asking through the control socket. */
export const rootRequest: Request = {
  caller: { pid: process.pid, uid: 0, gid: 0, groups: [], socket: 'control' },
  level: 'root',
  dryRun: false,
  gone: new AbortController().signal,
  input: (input) => ({
    path: input.kind === 'path' ? input.path : '',
    uploaded: false,
    bytes: undefined,
  }),
  secret() {
    throw new Error('nobody sends secrets here');
  },
  credential() {
    throw new Error('nobody has credentials here');
  },
  output() {
    throw new Error('nobody fetches anything here');
  },
};

/** A daemon without sockets in this process, on the trees below `root`. */
export function startSilent(
  root: string,
  hooks: Hooks = {},
  more: { log?: Log; settings?: Settings } = {},
): Promise<Daemon> {
  return startDaemon({
    paths: pathsOf(root),
    settings,
    log: silentLog,
    version: '0',
    ...more,
    hooks: { ...hooks, silent: true },
  });
}

/** Stops the daemon, once however often it is called, and at the end of the test at the latest. */
export function stoppable(t: ExecutionContext, daemon: Daemon): () => Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= daemon.stop();
    return stopped;
  };
  t.teardown(stop);
  return stop;
}

/** The methods of the rooms, called without a socket. */
export type Methods = ReturnType<Daemon['rooms']['methods']>;
/** A change asked for. */
export type Asked = (methods: Methods, daemon: Daemon) => Promise<{ plan: Plan }> | { plan: Plan };

/** Runs a change to its end, whatever that is. */
export async function ask(daemon: Daemon, asked: Asked): Promise<Result> {
  const { engine, rooms } = daemon;
  const { plan } = await asked(rooms.methods(engine), daemon);
  return await (await engine.submit(plan)).done;
}

/** Runs a change that must succeed. */
export async function mustDo(daemon: Daemon, asked: Asked): Promise<void> {
  const result = await ask(daemon, asked);
  if (result.status !== 'done') throw new Error(JSON.stringify(result));
}

/** A tree a slot can show, with its name in `etc/name`. Equal trees have equal times. */
export function smallTree(folder: string, name: string): string {
  const path = join(folder, `tree-${name}`);
  for (const inside of ['etc', 'proc', 'dev', 'tmp', 'run'])
    mkdirSync(join(path, inside), { recursive: true });
  writeFileSync(join(path, 'etc/name'), name);
  for (const inside of ['etc/name', 'etc', 'proc', 'dev', 'tmp', 'run', ''])
    utimesSync(join(path, inside), 1e9, 1e9);
  return path;
}

/** A real ext4 in a file. `folder` lies beside it. */
export interface SmallDisk {
  folder: string;
  image: string;
  /** Where it is mounted. */
  root: string;
}

/** Mounts `image` as the disk at `root`. */
export function mountDisk(image: string, root: string): void {
  mountImage(image, root);
}

/** The disk as after a boot: nothing of it is mounted but itself. */
export async function reboot({ folder, image, root }: SmallDisk): Promise<void> {
  await unmountBelow(folder);
  mountDisk(image, root);
  rmSync(join(root, 'run'), { recursive: true, force: true });
}

/** A small disk of its own; all mounts and files are gone after the test. */
export function smallDisk(t: ExecutionContext, mib: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), 'personad-disk-'));
  const root = join(folder, 'disk');
  const image = join(folder, 'disk.img');
  mkdirSync(root);
  run('truncate', '-s', `${mib}M`, image);
  run('mkfs.ext4', '-q', '-F', '-m', '0', image);
  mountDisk(image, root);
  t.teardown(async () => {
    await unmountBelow(folder);
    // The kernel may hold the disk for a moment after the last lazy unmount.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  return { folder, image, root };
}

/** A base, personas `a` and `b` of it, and a slot `work` that was swapped to `a`, then to `b`. */
export async function furnish(daemon: Daemon, folder: string): Promise<void> {
  const place = (name: string) => ({ kind: 'path' as const, path: smallTree(folder, name) });
  const base = { name: 'base', source: place('base') };
  await mustDo(daemon, (m) => m['base.import'](base, rootRequest));
  for (const name of ['a', 'b']) {
    const made = { name, base: 'base', tree: place(name) };
    await mustDo(daemon, (m) => m['persona.create'](made, rootRequest));
  }
  await mustDo(daemon, (m) => m['slot.create']({ name: 'work' }, rootRequest));
  for (const persona of ['a', 'b'])
    await mustDo(daemon, (m) => m['slot.swap']({ slot: 'work', persona }, rootRequest));
}
