import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { type Client, connect, socketPaths } from '../../../ipc/client.ts';
import type { MethodName, Params } from '../../../ipc/methods/index.ts';
import { mountImage } from '../../support/mount-image.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

// The state tree on file systems that can hold uppers, and on one that cannot.

const program = fileURLToPath(new URL('../../../daemon/main.ts', import.meta.url));
const MiB = 1024 ** 2;

/** How a file system is made and mounted at `root`, with `folder` for what it needs. */
const kinds = {
  overlay(folder: string, root: string) {
    const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => {
      mkdirSync(join(folder, name));
      return join(folder, name);
    });
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    run('mount', '-t', 'overlay', 'overlay', '-o', options, root);
  },
  tmpfs(_: string, root: string) {
    run('mount', '-t', 'tmpfs', '-o', 'size=256M', 'tmpfs', root);
  },
  xfs(folder: string, root: string) {
    run('truncate', '-s', '400M', join(folder, 'disk.img'));
    run('mkfs.xfs', '-q', join(folder, 'disk.img'));
    mountImage(join(folder, 'disk.img'), root);
  },
};

const settings = (more = '') => `[space]
reserve = "1MiB"
keep_free = "1MiB"
keep_free_percent = 1
upper_volume = "96MiB"
${more}`;

/** A private tree on a file system of this kind. */
function treeOn(t: ExecutionContext, kind: keyof typeof kinds): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-volume-'));
  const root = join(folder, 'disk');
  mkdirSync(root);
  t.teardown(async () => {
    await unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true });
  });
  kinds[kind](folder, root);
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/persona.toml'), settings(), { mode: 0o644 });
  return root;
}

interface Running {
  client: Client;
  output(): string;
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Starts a daemon; `command` runs it in another way than directly. */
async function start(
  t: ExecutionContext,
  root: string,
  command: readonly string[] = [],
): Promise<Running> {
  const [file = '', ...args] = [...command, process.execPath, '--no-warnings', program];
  const child: ChildProcess = spawn(file, args, {
    env: { PATH: process.env.PATH, PERSONA_ROOT: root },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const ready = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece) => {
      output += String(piece);
      if (output.includes('"msg":"ready"')) ready.resolve();
    });
  const gone = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  void gone.then(() => ready.reject(new Error(`it ended: ${output}`)));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  await ready.promise;
  const client = await connect(socketPaths(join(root, 'run')));
  t.teardown(() => client.close());
  return {
    client,
    output: () => output,
    async end(signal) {
      client.close();
      child.kill(signal);
      await gone;
    },
  };
}

async function done<M extends MethodName>(
  { client }: Running,
  method: M,
  params: Omit<Params<M>, 'wait'>,
): Promise<void> {
  await client.call(method, { ...params, wait: true } as unknown as Params<M>);
}

/** A base, personas a and b of it, and a slot that shows a. */
async function populate(daemon: Running, root: string): Promise<void> {
  const trees = join(root, 'trees');
  for (const name of ['base', 'a', 'b']) {
    for (const inside of ['etc', 'proc', 'dev', 'tmp', 'run'])
      mkdirSync(join(trees, name, inside), { recursive: true });
    writeFileSync(join(trees, name, 'etc/name'), name);
  }
  const place = (name: string) => ({ kind: 'path' as const, path: join(trees, name) });
  await done(daemon, 'base.import', { name: 'base', source: place('base') });
  for (const name of ['a', 'b'])
    await done(daemon, 'persona.create', { name, base: 'base', tree: place(name) });
  await done(daemon, 'slot.create', { name: 'work' });
  await done(daemon, 'slot.swap', { slot: 'work', persona: 'a' });
}

const shown = (root: string, file: string) =>
  readFileSync(join(root, 'run/slots/work/root/etc', file), 'utf8');
const write = (root: string, file: string, text: string) =>
  writeFileSync(join(root, 'run/slots/work/root/etc', file), text);
const swap = (daemon: Running, persona: string) =>
  done(daemon, 'slot.swap', { slot: 'work', persona });
const imageOf = (root: string) => join(root, 'state/uppers.ext4');

/** Loop devices whose file lies below `root`, with that file. */
function loopsBelow(root: string): [loop: string, file: string][] {
  return readdirSync('/sys/block').flatMap((name): [string, string][] => {
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim();
      return file.startsWith(`${root}/`) ? [[name, file]] : [];
    } catch {
      return [];
    }
  });
}

const volumesBelow = (root: string) =>
  loopsBelow(root).filter(([, file]) => file === imageOf(root));

/** Processes that see a mount of the device: sandboxes of others, which copied the mount table while it was there. */
function holders(loop: string): string[] {
  const device = readFileSync(`/sys/block/${loop}/dev`, 'utf8').trim();
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(` ${device} /`);
    } catch {
      return false;
    }
  });
}

/** Resolves when none is left but what others hold. */
async function loopsGone(root: string): Promise<void> {
  const left = () => loopsBelow(root).filter(([loop]) => holders(loop).length === 0);
  for (const until = Date.now() + 20_000; left().length > 0; await pause(20))
    if (Date.now() > until) throw new Error(`left: ${left().join(' ')}`);
}

const mountsBelow = (root: string) =>
  readMountinfo()
    .map(({ at }) => at)
    .filter((at) => at.startsWith(`${root}/`));

/** Takes off what slots show, as a person would; the volume stays. */
function takeSlotsOff(root: string): void {
  const all = mountsBelow(join(root, 'run')).reverse();
  for (const at of all) run('umount', at);
}

const needs = {
  root: true,
  tools: ['mkfs.ext4', 'e2fsck', 'dumpe2fs', 'mount', 'umount', 'bwrap', 'unshare'],
};

when(test, needs)(
  'on overlayfs a volume holds what slots write, over restarts and crashes',
  async (t) => {
    const root = treeOn(t, 'overlay');
    const first = await start(t, root);
    const { space, fallbacks, daemon } = await first.client.call('daemon.status', {});
    t.is(daemon.state, 'ready', first.output());
    t.is(space.fileSystem, 'overlay');
    t.is(space.uppers, 'loop-volume');
    t.is(space.volume?.image, imageOf(root));
    t.true((space.volume?.freeBytes ?? 0) > 64 * MiB && (space.volume?.totalBytes ?? 0) < 96 * MiB);
    t.true(fallbacks.some(({ capability }) => capability === 'uppers'));
    t.true(
      fallbacks.some(({ capability }) => capability === 'erofs-file'),
      'images go by loop',
    );
    t.true(statSync(imageOf(root)).blocks * 512 >= 96 * MiB, 'it owns its blocks');
    const at = readMountinfo().find((line) => line.at === join(root, 'state/slots'));
    t.is(at?.type, 'ext4');
    for (const option of ['nosuid', 'nodev', 'noatime']) t.true(at?.options.includes(option));
    t.is(at?.shared, undefined, 'private');

    await populate(first, root);
    write(root, 'mine', 'of a');
    await swap(first, 'b');
    write(root, 'mine', 'of b');
    await swap(first, 'a');
    t.is(shown(root, 'mine'), 'of a');
    await first.end('SIGTERM');
    t.is(shown(root, 'name'), 'a', 'slots stay usable without the daemon');
    write(root, 'meanwhile', 'written');

    const second = await start(t, root);
    t.is(shown(root, 'meanwhile'), 'written');
    await swap(second, 'b');
    t.is(shown(root, 'mine'), 'of b');
    await second.end('SIGKILL');

    const third = await start(t, root);
    t.is(volumesBelow(root).length, 1);
    await swap(third, 'a');
    t.is(shown(root, 'meanwhile'), 'written');
    write(root, 'mine', 'of a again');
    const df = await third.client.call('system.df', {});
    t.true((df.volume?.totalBytes ?? 0) > 0);
    t.true((df.kinds.find(({ kind }) => kind === 'volume')?.bytes ?? 0) > 64 * MiB);
    const { checks } = await third.client.call('daemon.doctor', {});
    t.is(checks.find(({ name }) => name === 'upper volume')?.state, 'ok');
    await third.end('SIGTERM');

    // As after a power cut: what was on the disk at that moment, and nothing is mounted any more.
    run('sync', '-f', join(root, 'state/slots'));
    run('cp', imageOf(root), `${imageOf(root)}.cut`);
    takeSlotsOff(root);
    run('umount', join(root, 'state/slots'));
    await loopsGone(root);
    renameSync(`${imageOf(root)}.cut`, imageOf(root));
    t.regex(run('dumpe2fs', '-h', imageOf(root)), /needs_recovery/);
    const fourth = await start(t, root);
    t.is(shown(root, 'mine'), 'of a again');
    await done(fourth, 'slot.rm', { slot: 'work', discard: true });
    await fourth.end('SIGTERM');
    t.deepEqual(mountsBelow(root), [], 'nothing is shown: all is off');
    await loopsGone(root);
  },
);

when(test, needs)(
  'a volume that is still in use out of sight is the same one, not a second',
  async (t) => {
    const root = treeOn(t, 'overlay');
    const first = await start(t, root);
    await populate(first, root);
    await first.end('SIGKILL');
    // The tree that the slot shows keeps its file system alive.
    run('umount', '-l', join(root, 'state/slots'));
    write(root, 'mine', 'precious');
    const second = await start(t, root);
    t.is(volumesBelow(root).length, 1);
    await swap(second, 'b');
    await swap(second, 'a');
    t.is(shown(root, 'mine'), 'precious');
    t.is((await second.client.call('daemon.status', {})).daemon.state, 'ready');
  },
);

when(test, needs)(
  'a volume that is damaged, missing or another one is never replaced',
  async (t) => {
    const root = treeOn(t, 'overlay');
    // Smaller ones have no second superblock.
    const larger = settings().replace('96MiB', '192MiB');
    writeFileSync(join(root, 'etc/persona.toml'), larger, { mode: 0o644 });
    const first = await start(t, root);
    await populate(first, root);
    write(root, 'mine', 'precious');
    await first.end('SIGTERM');
    takeSlotsOff(root);
    run('umount', join(root, 'state/slots'));
    const image = imageOf(root);

    const degraded = async (reason: RegExp, command: RegExp) => {
      const daemon = await start(t, root);
      const status = await daemon.client.call('daemon.status', {});
      t.is(status.daemon.state, 'degraded');
      t.regex(status.daemon.reason ?? '', reason);
      t.true(status.notices.some((notice) => command.test(notice.command ?? '')));
      t.is(status.space.uppers, undefined);
      const { checks } = await daemon.client.call('daemon.doctor', {});
      t.is(checks.find(({ name }) => name === 'upper volume')?.state, 'failed');
      t.is(checks.find(({ name }) => name === 'database')?.state, 'ok');
      await t.throwsAsync(swap(daemon, 'b'), { code: 'daemon-degraded' });
      await daemon.end('SIGTERM');
      t.deepEqual(mountsBelow(root), []);
    };

    renameSync(image, `${image}.away`);
    await degraded(/is missing/, /^ls -l /);
    t.false(existsSync(image));

    execFileSync('mkfs.ext4', ['-q', image, '64M']);
    await degraded(/is not the volume that was made for this state tree/, /^blkid /);
    rmSync(image);
    renameSync(`${image}.away`, image);

    const file = openSync(image, 'r+');
    writeSync(file, Buffer.alloc(1024, 0xff), 0, 1024, 1024);
    await degraded(/damaged/, /^e2fsck -f /);
    t.throws(() => execFileSync('e2fsck', ['-f', '-y', image], { stdio: 'ignore' }), {
      message: /Command failed/,
    });

    const last = await start(t, root);
    const { daemon } = await last.client.call('daemon.status', {});
    t.is(daemon.state, 'ready', last.output());
    t.is(shown(root, 'mine'), 'precious');
  },
);

when(test, needs)('a volume owns its blocks again after a start, and grows', async (t) => {
  const root = treeOn(t, 'overlay');
  const owned = () => statSync(imageOf(root)).blocks * 512;
  const first = await start(t, root);
  await first.end('SIGTERM');
  t.deepEqual(mountsBelow(root), []);
  await loopsGone(root);
  execFileSync('fallocate', ['-d', imageOf(root)]);
  t.true(owned() < 96 * MiB, 'the holes are dug');
  writeFileSync(`${imageOf(root)}.new`, 'half made');
  const second = await start(t, root);
  t.true(owned() >= 96 * MiB);
  t.false(existsSync(`${imageOf(root)}.new`));
  await second.end('SIGTERM');
  const larger = settings().replace('96MiB', '128MiB');
  writeFileSync(join(root, 'etc/persona.toml'), larger, { mode: 0o644 });
  const third = await start(t, root);
  const { space } = await third.client.call('daemon.status', {});
  t.true((space.volume?.totalBytes ?? 0) > 100 * MiB, third.output());
  t.true(owned() >= 128 * MiB);
});

when(test, needs)('when the volume is full new work is refused; a rollback is not', async (t) => {
  const root = treeOn(t, 'overlay');
  const daemon = await start(t, root);
  await populate(daemon, root);
  write(root, 'mine', 'of a');
  await swap(daemon, 'b');
  for (const [name, bytes] of [
    ['large', MiB],
    ['last', 1],
  ] as const)
    t.throws(
      () => {
        for (let n = 0; ; n += 1) writeFileSync(filling(root, name, n), Buffer.alloc(bytes, 1));
      },
      { code: 'ENOSPC' },
    );
  const refused = await t.throwsAsync(swap(daemon, 'a'), { code: 'no-space' });
  t.regex(refused?.message ?? '', /the volume that holds what slots write/);
  await done(daemon, 'slot.rollback', { slot: 'work' });
  t.is(shown(root, 'mine'), 'of a');
});

const filling = (root: string, name: string, n: number) =>
  join(root, 'run/slots/work/root/tmp', `${name}-${n}`);

when(test, needs)('without mkfs.ext4 the daemon says what to install', async (t) => {
  const root = treeOn(t, 'overlay');
  const hide = 'mount --bind /dev/null "$(command -v mkfs.ext4)" && exec "$@"';
  const daemon = await start(t, root, ['unshare', '-m', 'sh', '-c', hide, 'sh']);
  const status = await daemon.client.call('daemon.status', {});
  t.is(status.daemon.state, 'degraded');
  t.regex(status.daemon.reason ?? '', /mkfs\.ext4: it is not installed.*apt install e2fsprogs/);
  t.deepEqual(
    readdirSync(join(root, 'state')).filter((name) => name.startsWith('uppers')),
    [],
  );
});

when(test, needs)('without room for a useful volume nothing is made', async (t) => {
  const root = treeOn(t, 'overlay');
  const huge = settings().replace('96MiB', '900TiB');
  writeFileSync(join(root, 'etc/persona.toml'), huge, { mode: 0o644 });
  const daemon = await start(t, root);
  const status = await daemon.client.call('daemon.status', {});
  t.is(status.daemon.state, 'degraded');
  t.regex(status.daemon.reason ?? '', /900 TiB for the volume that holds what slots write/);
  t.false(existsSync(imageOf(root)));
});

for (const [kind, tool] of [
  ['tmpfs', 'mount'],
  ['xfs', 'mkfs.xfs'],
] as const)
  when(test, { ...needs, tools: [...needs.tools, tool] })(
    `on ${kind} uppers lie on the state tree itself`,
    async (t) => {
      const root = treeOn(t, kind);
      const first = await start(t, root);
      await populate(first, root);
      write(root, 'mine', 'of a');
      await swap(first, 'b');
      await first.end('SIGKILL');
      const second = await start(t, root);
      await swap(second, 'a');
      t.is(shown(root, 'mine'), 'of a');
      const { space, daemon } = await second.client.call('daemon.status', {});
      t.deepEqual([daemon.state, space.fileSystem, space.uppers], ['ready', kind, 'direct']);
      t.false(existsSync(imageOf(root)));
    },
  );
