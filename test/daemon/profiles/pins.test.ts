import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { silentLog } from '../../../daemon/changes/log.ts';
import { fitting, isShort } from '../../../daemon/compose/pins.ts';
import { processStat } from '../../../daemon/kernel/processes.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import { policySettings } from '../../../daemon/partitions/policy-settings.ts';
import { Pins, type PinsParts } from '../../../daemon/profiles/pins.ts';
import type { RunningApplication } from '../../../daemon/profiles/running.ts';
import { compileLauncher } from '../../../scripts/launcher.ts';
import { launcherNeeds } from '../../ctl/launch-plans.ts';
import { asUser, privateTree, startLive } from '../../security/live-daemon.ts';
import { builtPins, lockedBytes, pinsNeeds } from '../../support/file-pins.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { endFastGroups, userSide } from '../../support/program-groups.ts';
import { knowPaint } from './paint.ts';
import { until } from './side-group.ts';

// Executables and libraries of applications that run as fast, kept in memory.

const one = (group: string, more: Partial<RunningApplication> = {}): RunningApplication => ({
  ...{ app: 'paint', account: 5, group, profile: 'fast', rule: 'x', reason: 'x', sinceMs: 1 },
  ...{ by: 'launch', recognised: true },
  ...more,
});

/** Pins whose files are as many bytes as is said. */
function ground(more: Partial<PinsParts> = {}) {
  const asked: { group: string; bytesMax: number }[] = [];
  const released: number[] = [];
  const ends: (() => void)[] = [];
  const pins = new Pins({
    log: silentLog,
    loadedMs: 0,
    keptMs: 0,
    bytesMax: () => 100,
    async pin(group, _, bytesMax) {
      const number = asked.push({ group, bytesMax });
      const { promise: gone, resolve: end } = Promise.withResolvers<void>();
      ends.push(end);
      return { files: 1, bytes: 40, gone, release: async () => void released.push(number) };
    },
    ...more,
  });
  return { pins, asked, released, ends };
}

const settled = (pins: Pins, count: number) => until(() => pins.pages().length === count);

test('what runs as fast is kept once, whatever its instances, until a while after the last', async (t) => {
  const { pins, asked, released } = ground();
  pins.began(one('a', { profile: 'standard' }));
  pins.began(one('b', { recognised: false }));
  pins.began(one('c'));
  await settled(pins, 1);
  t.deepEqual(pins.pages(), [{ app: 'paint', account: 5, files: 1, bytes: 40 }]);
  t.deepEqual([pins.pages(5).length, pins.pages(6).length, pins.bytes], [1, 0, 40]);
  // What its next instance runs may be another version.
  pins.began(one('d'));
  await until(() => released.length === 1);
  t.deepEqual(asked, [
    { group: 'c', bytesMax: 100 },
    { group: 'd', bytesMax: 100 },
  ]);
  pins.ended('c');
  pins.ended('nobody');
  t.is(pins.bytes, 40);
  pins.ended('d');
  await settled(pins, 0);
  await until(() => released.length === 2);
  await pins.close();
});

test('all together have no more than there may be; pressure and the end let go of all', async (t) => {
  const { pins, asked, released } = ground();
  for (const app of ['a', 'b', 'c', 'd']) {
    pins.began(one(app, { app }));
    await until(() => asked.some(({ group }) => group === app) || pins.bytes >= 100);
    await new Promise(setImmediate);
  }
  t.deepEqual(
    asked.map(({ bytesMax }) => bytesMax),
    [100, 60, 20],
  );
  await pins.relieve();
  t.deepEqual([pins.bytes, released.length], [0, 3]);
  pins.began(one('again'));
  await settled(pins, 1);
  await pins.close();
  t.deepEqual([pins.bytes, released.length], [0, 4]);
  pins.began(one('late'));
  t.is(asked.length, 4);
});

test('what cannot be kept, or was ended by others, is not listed, and so many applications are kept of one user', async (t) => {
  const failing = ground({
    pin: async () => {
      throw new Error('it cannot');
    },
  });
  failing.pins.began(one('a'));
  await failing.pins.close();
  t.is(failing.pins.bytes, 0);
  const killed = ground();
  killed.pins.began(one('a'));
  await settled(killed.pins, 1);
  killed.ends[0]?.();
  await settled(killed.pins, 0);
  await killed.pins.close();
  const { pins, asked } = ground({ bytesMax: () => 10_000 });
  for (let at = 0; at < 20; at += 1) pins.began(one(`${at}`, { app: `app${at}` }));
  await settled(pins, 8);
  await pins.close();
  t.is(asked.length, 8);
});

test('files are kept in their order as far as they fit', (t) => {
  const sizes = (all: { bytes: number }[]) => all.map(({ bytes }) => bytes);
  const files = [5, 0, 7, 3, 2].map((bytes) => ({ bytes }));
  t.deepEqual(sizes(fitting(files, 10)), [5, 3, 2]);
  t.deepEqual(sizes(fitting(files, 0)), []);
  fc.assert(
    fc.property(fc.array(fc.record({ bytes: fc.nat(1000) })), fc.nat(5000), (all, most) => {
      const kept = fitting(all, most);
      return kept.length <= 200 && sizes(kept).reduce((sum, bytes) => sum + bytes, 0) <= most;
    }),
  );
});

const GiB = 2 ** 30;
test('memory is short when nothing can be spared, or the user side waits', (t) => {
  const side = (someUs: number) => ({
    ...{ group: '1', currentBytes: GiB, anonBytes: GiB, shmemBytes: 0, fileBytes: 0 },
    pressure: { someUs },
  });
  const look = (atMs: number, availableBytes: number, someUs: number) =>
    ({
      ...{ atMs, totalBytes: 16 * GiB, availableBytes, swapTotalBytes: 0, swapFreeBytes: 0 },
      sides: { user: side(someUs), system: side(0) },
    }) as never;
  const choice = { settings: policySettings };
  const short = (before: unknown, last: unknown) => isShort({ before, last, choice } as never);
  t.false(short(undefined, undefined));
  t.false(short(look(0, 12 * GiB, 0), look(1000, 12 * GiB, 50_000)));
  t.true(short(look(0, 12 * GiB, 0), look(1000, 12 * GiB, 150_000)));
  t.true(short(undefined, look(1000, 0, 0)));
});

const unmanaged = () =>
  managerRuns() ? 'needs a machine without systemd' : (memoryNeeds.other?.() ?? pinsNeeds.other());
const live = when(test, {
  ...launcherNeeds,
  root: true,
  tools: ['bwrap'],
  other: unmanaged,
});
const built = mkdtempSync('/var/tmp/personad-test-');
const launcher = join(built, 'persona-run');
test.before(() => {
  if (unmanaged() !== undefined) return;
  compileLauncher(launcher);
  builtPins();
  chmodSync(built, 0o755);
});
test.after.always(() => rmSync(built, { recursive: true, force: true }));

/** The children of a daemon that keep files. */
const keepersOf = (daemon: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const process = processStat(pid);
      return process?.name === 'file-pins' && parentOf(pid) === daemon;
    });

function parentOf(pid: number): number | undefined {
  try {
    const parent = /\nPPid:\t(\d+)\n/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return Number(parent);
  } catch {
    return undefined;
  }
}

live(
  'executable and libraries of a fast application are locked, and let go with the daemon',
  async (t) => {
    const games = { uid: 5, gid: 60 };
    const root = privateTree(t, userSide(t), '/var/tmp');
    endFastGroups(t, root);
    const folder = `${root}/machine/usr/games/.paint`;
    for (const at of [folder, `${root}/machine/usr/bin`]) mkdirSync(at, { recursive: true });
    for (const at of [`${root}/machine/usr/games`, folder]) chownSync(at, games.uid, games.gid);
    const program = `${root}/machine/usr/bin/paint`;
    copyFileSync('/bin/cat', program);
    const daemon = await startLive(t, root);
    const client = await daemon.client();
    await knowPaint(client);
    const env = { PATH: '/usr/local/bin:/usr/bin:/bin', PERSONA_ROOT: root };
    const start = () => {
      const child = spawn(launcher, ['paint', '--', program], {
        ...{ env, ...games, stdio: ['pipe', 'pipe', 'ignore'] },
      } as const);
      const ended = once(child, 'exit');
      t.teardown(async () => {
        child.kill('SIGKILL');
        await ended;
      });
      return async () => {
        child.stdin?.end();
        await ended;
      };
    };
    // A first start may be too early for its memory: then it is standard, and nothing is kept.
    for (;;) {
      const end = start();
      const profile = await until(async () => {
        const { applications } = await client.call('launch.list', {});
        return applications[0]?.profile;
      });
      if (profile === 'fast') break;
      await end();
      await until(async () => (await client.call('launch.list', {})).applications.length === 0);
      await until(async () =>
        ((await client.call('daemon.status', {})).inMemory ?? []).every(
          ({ state }) => state === 'filled',
        ),
      );
    }
    const page = await until(async () => (await client.call('daemon.status', {})).pinned?.[0]);
    t.like(page, { app: 'paint', owner: { uid: games.uid } });
    t.true(page.files >= 2 && page.bytes > 100_000, JSON.stringify(page));
    const [asked] = await asUser(games.uid, [], daemon.run, [['app.explain', { app: 'paint' }]]);
    t.like((asked?.result as { explanation?: unknown })?.explanation, {
      kept: { files: page.files, bytes: page.bytes },
    });
    const mine = keepersOf(daemon.child.pid!);
    t.true(mine.some((pid) => (lockedBytes(pid) ?? 0) >= page.bytes));
    await daemon.end('SIGKILL');
    await until(() => mine.every((pid) => lockedBytes(pid) === undefined));
  },
);
