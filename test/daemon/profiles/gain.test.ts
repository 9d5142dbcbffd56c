import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { silentLog } from '../../../daemon/changes/log.ts';
import { countsSyncs } from '../../../daemon/kernel/sync-count.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import {
  type Application,
  byPrecedence,
  type Known,
  type Profile,
  type Source,
} from '../../../daemon/profiles/application.ts';
import { DiskSpeeds } from '../../../daemon/profiles/disk-speeds.ts';
import { diskWait, mostWait, type OnDisk, onDisk } from '../../../daemon/profiles/gain.ts';
import { fragmentsOf, needsWith, noNeeds } from '../../../daemon/profiles/needs.ts';
import { choose } from '../../../daemon/profiles/selection.ts';
import { homeSpeed } from '../../../daemon/writeback/home-speed.ts';
import type { Client } from '../../../ipc/client.ts';
import { compileLauncher } from '../../../scripts/launcher.ts';
import { launcherNeeds } from '../../ctl/launch-plans.ts';
import { privateTree, startLive } from '../../security/live-daemon.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { servedHome, uid } from '../writeback/served-home.ts';
import { startAnswered } from './answered-launch.ts';
import { sideGroup, until } from './side-group.ts';

// Whether memory would gain an application anything: from what its runs did on the disk to the profile it starts in.

const disk = { ranMs: 10_000, writtenBytes: 0, laterReadBytes: 0, syncMs: 0.1, readMs: 0.2 };

test('a run waits for the disk once for each page at most', (t) => {
  const share = (more: Partial<OnDisk>) => diskWait({ ...disk, ...more });
  t.is(share({}), 0);
  t.is(share({ writtenBytes: 1 }), 0.1 / 10_000);
  t.is(share({ writtenBytes: 4096 * 1000 }), 0.01);
  t.is(share({ laterReadBytes: 4096 * 1000 }), 0.02);
  t.is(share({ writtenBytes: 4096 * 1000, laterReadBytes: 4096 * 1000, ranMs: 100 }), 1);
  t.is(share({ writtenBytes: 4096 * 1000, syncMs: 10 }), 1, 'the same is much on a slow disk');
  // Counted is what it waits for: that, and what each takes along.
  t.is(share({ writtenBytes: 4096 * 1000, syncs: 0 }), 0, 'nobody has waited');
  t.is(share({ writtenBytes: 4096 * 1000, syncs: 10 }), (10 * 0.1 + 62 * 0.2) / 10_000);
  t.is(share({ writtenBytes: 4096, syncs: 1000 }), 0.01, 'what is written again and again');
  t.is(share({ laterReadBytes: 4096 * 1000, syncs: 0 }), 0.02);
  for (const lacks of Object.keys(disk)) t.is(onDisk({ ...disk, [lacks]: undefined }), undefined);
  t.is(onDisk({ ...disk, ranMs: 0 }), undefined);
  t.like(onDisk({ ...disk, syncs: 3 }), { syncs: 3 });
});

const runs = fc.array(
  fc.record(
    {
      ranMs: fc.integer({ min: 1, max: 10 ** 9 }),
      writtenBytes: fc.nat(2 ** 40),
      laterReadBytes: fc.nat(2 ** 40),
      syncMs: fc.double({ min: 0, max: 10_000, noNaN: true }),
      readMs: fc.double({ min: 0, max: 10_000, noNaN: true }),
      syncs: fc.nat(10 ** 9),
    },
    { requiredKeys: ['ranMs', 'writtenBytes', 'laterReadBytes', 'syncMs', 'readMs'] },
  ),
  { minLength: 1, maxLength: 20 },
);

test('the run that may have waited most counts, and more work or a slower disk is never less', (t) => {
  fc.assert(
    fc.property(runs, fc.nat(2 ** 30), (all, more) => {
      const [one] = all;
      const shares = all.map(diskWait);
      const share = diskWait(one!);
      return (
        shares.every((each) => each >= 0 && each <= 1) &&
        Math.abs((mostWait(all)?.share ?? -1) - Math.max(...shares)) < 1e-4 &&
        diskWait({ ...one!, writtenBytes: one!.writtenBytes + more }) >= share &&
        diskWait({ ...one!, laterReadBytes: one!.laterReadBytes + more }) >= share &&
        diskWait({ ...one!, syncMs: one!.syncMs + more }) >= share &&
        (one!.syncs === undefined || diskWait({ ...one!, syncs: one!.syncs + more }) >= share) &&
        diskWait({ ...one!, ranMs: one!.ranMs + more }) <= share
      );
    }),
  );
  t.is(mostWait([]), undefined);
});

test('what runs did on the disk is remembered while later ones work in memory', (t) => {
  const learn = (needs: typeof noNeeds, sinceMs: number, more = {}) =>
    needsWith(needs, { sinceMs, peakBytes: sinceMs, ...more }, sinceMs);
  let needs = noNeeds;
  for (let at = 1; at <= 5; at += 1)
    needs = learn(needs, at, { ...disk, writtenBytes: at * 40_960 });
  for (let at = 6; at <= 30; at += 1) needs = learn(needs, at, { ranMs: 10, writtenBytes: 0 });
  t.deepEqual(
    needs.last.map(({ sinceMs }) => sinceMs),
    [3, 4, 5, 23, 24, 25, 26, 27, 28, 29, 30],
  );
  const [all, wait, ...others] = fragmentsOf('x', needs);
  t.deepEqual(others, []);
  t.like(all, { from: '30 runs', values: { memory: 30 } });
  t.deepEqual(wait, {
    of: { id: 'x' },
    source: 'measured',
    from: '3 runs on the disk, at most 200 KiB written (100 us a page that waits) and 0 B read after the start (200 us) in 10 s',
    confidence: 0.6,
    dateMs: 30,
    values: { diskWait: 0.0005 },
  });
  t.is(fragmentsOf('x', learn(noNeeds, 1)).length, 1);
});

const known = <T>(value: T, source: Source, confidence = 1): Known<T>[] => [
  { value, source, from: `the ${source}`, confidence, dateMs: 0 },
];
const recognised = { by: 'executable', path: '/usr/bin/paint', device: '1', inode: '2' } as const;

interface Case {
  says?: Source;
  /** `[share, confidence]` */
  wait?: [number, number];
  wish?: Profile;
  cache?: string[];
}

function chosen({ says = 'imported', wait, wish, cache = ['~/.cache/paint'] }: Case) {
  const application: Application = {
    id: 'paint',
    facts: {
      profile: known('fast' as const, says).toSorted(byPrecedence),
      cache: known(cache, 'imported'),
      ...(wait && { diskWait: known(wait[0], 'measured', wait[1]) }),
    },
  };
  return choose({ application, recognised, obstacles: {}, ...(wish && { wish }) });
}

test('a proposal is followed when it was measured to gain something; who may decide is only told', (t) => {
  const table: [string, Case, Profile, string, RegExp][] = [
    ['never measured', {}, 'standard', 'unmeasured', /imported proposes fast, but .* in 2 runs/],
    ['one run', { wait: [0.9, 0.33] }, 'standard', 'unmeasured', /measured first/],
    ['nothing', { wait: [0, 0.5] }, 'standard', 'no-gain', /gain it nothing: .* none of its time/],
    ['hardly', { wait: [0.0042, 0.5] }, 'standard', 'no-gain', /0\.42 % .*\(the measured\)/],
    ['just', { wait: [0.01, 0.5] }, 'fast', 'suggested', /fast; it waits .* at most 1 % of/],
    ['much', { wait: [0.8, 0.8] }, 'fast', 'suggested', /at most 80 %/],
    ['by category', { says: 'category', wait: [0, 0.5] }, 'standard', 'no-gain', /category/],
    ['the user', { says: 'user', wait: [0, 0.5] }, 'fast', 'stated', /says fast; .* nothing/],
    ['the administrator', { says: 'admin', wait: [0, 0.5] }, 'fast', 'stated', /nothing/],
    ['unmeasured, stated', { says: 'user' }, 'fast', 'stated', /^the user says fast$/],
    ['stated, gains', { says: 'user', wait: [1, 0.5] }, 'fast', 'stated', /^the user says fast$/],
    ['asked for', { wait: [0, 0.5], wish: 'fast' }, 'fast', 'asked', /asked for fast; .* nothing/],
    ['asked otherwise', { wish: 'standard' }, 'standard', 'asked', /^the caller asked for stan/],
    ['no folder', { cache: [] }, 'fast', 'suggested', /^the imported proposes fast$/],
  ];
  for (const [title, given, profile, rule, why] of table) {
    const choice = chosen(given);
    t.like(choice, { profile, rule }, title);
    t.regex(choice.why, why, title);
    t.is(choice.served.length > 0, profile === 'fast' && given.cache === undefined, title);
  }
  const told = chosen({ wait: [0.0042, 0.5] });
  t.like(
    told.evidence.find(({ fact }) => fact === 'diskWait'),
    { value: 'at most 0.42 %' },
  );
  t.deepEqual(told.suggestions, [{ profile: 'fast', why: 'the imported proposes it' }]);
  t.true(told.wouldChange.some((line) => line.includes('--profile')));
});

test('what was measured overrules no word of who may decide, and refuses nothing', (t) => {
  const wait = fc.option(
    fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
    { nil: undefined },
  );
  const says = fc.constantFrom<Source>('admin', 'user', 'imported', 'category');
  const wish = fc.constantFrom<Profile | undefined>('standard', 'fast', undefined);
  fc.assert(
    fc.property(wait, says, wish, (measured, source, wanted) => {
      const choice = chosen({
        says: source,
        ...(measured && { wait: measured }),
        ...(wanted && { wish: wanted }),
      });
      const decided = wanted ?? (['admin', 'user'].includes(source) ? 'fast' : undefined);
      const gains = measured !== undefined && measured[0] >= 0.01 && measured[1] >= 0.5;
      return (
        choice.refused === undefined &&
        choice.profile === (decided ?? (gains ? 'fast' : 'standard')) &&
        choice.why !== ''
      );
    }),
  );
  t.pass();
});

test('a disk is looked at when somebody has ended, one after the other, and not again for hours', async (t) => {
  const clock = { nowMs: 0 };
  const looks: number[] = [];
  let busy = 0;
  const speeds = new DiskSpeeds({
    nowMs: () => clock.nowMs,
    log: silentLog,
    async look(owner) {
      looks.push(owner);
      busy += 1;
      t.is(busy, 1);
      await new Promise(setImmediate);
      busy -= 1;
      if (owner === 7) throw new Error('it has no home');
      return { syncMs: owner, readMs: 1 };
    },
  });
  t.is(speeds.known(5), undefined);
  t.deepEqual(looks, []);
  const found = await Promise.all([speeds.of(5), speeds.of(5), speeds.of(6), speeds.of(7)]);
  t.deepEqual(
    found.map((speed) => speed?.syncMs),
    [5, 5, 6, undefined],
  );
  t.deepEqual(looks, [5, 6, 7]);
  clock.nowMs += 3 * 3_600_000;
  t.is(await speeds.of(7), undefined);
  t.is((await speeds.of(5))?.syncMs, 5);
  t.deepEqual(looks, [5, 6, 7, 7], 'what could not be looked at is tried again sooner');
  clock.nowMs += 4 * 3_600_000;
  t.is(speeds.known(5), undefined);
  t.is((await speeds.of(5))?.syncMs, 5);
  t.deepEqual(looks, [5, 6, 7, 7, 5]);
  await Promise.all(Array.from({ length: 64 }, (_, i) => speeds.of(100 + i)));
  t.is(speeds.known(5), undefined, 'of so many users it is known');
});

when(test, { root: true })(
  'the disk of a home is measured as its user, and nothing stays',
  async (t) => {
    const { home, disk: folder } = await servedHome(t);
    const caller = { uid, gid: uid, groups: [] };
    const { syncMs, readMs } = await homeSpeed({ caller, home });
    t.true(syncMs > 0 && readMs > 0);
    t.deepEqual(readdirSync(home), ['app']);
    chmodSync(home, 0o555);
    await t.throwsAsync(homeSpeed({ caller, home }), { message: /EACCES/ });
    t.deepEqual(readdirSync(folder), []);
  },
);

const unmanaged = () => (managerRuns() ? 'needs a machine without systemd' : memoryNeeds.other?.());
const live = when(test, {
  ...launcherNeeds,
  root: true,
  tools: ['bwrap', 'dd'],
  other: unmanaged,
});
const built = mkdtempSync(join(tmpdir(), 'personad-test-'));
const launcher = join(built, 'persona-run');
test.before(() => compileLauncher(launcher));
test.after.always(() => rmSync(built, { recursive: true, force: true }));

/** Writes, and waits for it each time. */
const busy = `#!/bin/sh
echo begun
dd if=/dev/zero of="$0.file" bs=4k count=1000 oflag=sync status=none
read line
`;
/** Writes as much, and waits for nothing. */
const stream = `#!/bin/sh
echo begun
dd if=/dev/zero of="$0.file" bs=4k count=1000 status=none
read line
`;
const quiet = `#!/bin/sh
echo begun; read line
`;

/** A machine with applications that a list proposes for memory, and a daemon. On a disk: /tmp may be memory. */
async function machineOfThree(t: ExecutionContext) {
  const { side } = sideGroup(t, 'gain');
  const root = privateTree(t, `[partitions]\nuser = "${side}"\n`, '/var/tmp');
  for (const at of ['machine/usr/bin', 'machine/root', 'share/apps.d'])
    mkdirSync(`${root}/${at}`, { recursive: true });
  const says = (name: string) =>
    `[${name}]\nprofile = "fast"\nexecutables = ["/usr/bin/${name}"]\ncache = ["~/.cache/${name}"]\n`;
  for (const [name, text] of Object.entries({ busy, stream, quiet })) {
    writeFileSync(`${root}/machine/usr/bin/${name}`, text, { mode: 0o755 });
    writeFileSync(`${root}/share/apps.d/${name}.toml`, says(name));
  }
  const daemon = await startLive(t, root);
  /** Starts one of them; what comes back ends it. */
  const start = (app: string) =>
    startAnswered(t, { launcher, root, app, program: `${root}/machine/usr/bin/${app}` });
  return { start, client: await daemon.client() };
}

/** What is known of an application, and how surely one thing of it. */
const explained = async (client: Client, app: string) =>
  (await client.call('app.explain', { app })).explanation;
const sureness = async (client: Client, app: string, name: 'processors' | 'diskWait') =>
  (await explained(client, app)).measured.find(({ fact }) => fact === name)?.confidence ?? 0;

/** Runs an application until so much is known of it; what comes back ends it. */
async function runUntil(
  { start, client }: Awaited<ReturnType<typeof machineOfThree>>,
  app: string,
  name: 'processors' | 'diskWait',
  sure: number,
) {
  const end = await start(app);
  await until(async () => (await sureness(client, app, name)) >= sure);
  return end;
}

const counted = () => {
  const counts = countsSyncs('/var/tmp');
  return counts ? unmanaged() : 'needs /var/tmp on a file system that tells of waits';
};
when(test, { ...launcherNeeds, root: true, tools: ['dd'], other: counted })(
  'what writes and waits for nothing stays standard, and how often writes are waited for is told',
  async (t) => {
    const machine = await machineOfThree(t);
    const { client } = machine;
    // The first launch waits for no list to be read: that is done before.
    await explained(client, 'quiet');
    await (await runUntil(machine, 'quiet', 'processors', 0.3))();
    await until(async () => (await sureness(client, 'quiet', 'diskWait')) > 0);
    for (const app of ['stream', 'busy'])
      for (const sure of [0.3, 0.5]) await (await runUntil(machine, app, 'diskWait', sure))();
    const streams = await explained(client, 'stream');
    t.like(streams, { profile: 'standard', rule: 'no-gain' });
    t.regex(streams.why, /[34][\d.]* MiB written \(waited for 0 times/);
    t.like(await explained(client, 'busy'), { profile: 'fast', rule: 'suggested' });
    const rate = async (app: string) =>
      Number(
        (await explained(client, app)).measured.find(({ fact }) => fact === 'syncRate')?.value,
      );
    t.is(await rate('stream'), 0);
    t.true((await rate('busy')) > 0);
  },
);

live(
  'what works on its disk comes into memory by a proposal, and what does not stays standard and says so',
  async (t) => {
    const machine = await machineOfThree(t);
    const { start, client } = machine;
    for (const app of ['quiet', 'busy'])
      t.like(await explained(client, app), { profile: 'standard', rule: 'unmeasured' });
    const endFirst = await runUntil(machine, 'quiet', 'processors', 0.3);
    t.is(await sureness(client, 'quiet', 'diskWait'), 0, 'no disk is looked at while it runs');
    await endFirst();
    await until(async () => (await sureness(client, 'quiet', 'diskWait')) > 0);
    // By now the disk is known.
    const both = async () => {
      await (await runUntil(machine, 'busy', 'diskWait', 0.3))();
      await (await runUntil(machine, 'busy', 'diskWait', 0.5))();
    };
    const quietAgain = async () => (await runUntil(machine, 'quiet', 'diskWait', 0.5))();
    await Promise.all([both(), quietAgain()]);
    const busyNow = await explained(client, 'busy');
    t.like(busyNow, { profile: 'fast', rule: 'suggested' });
    t.regex(busyNow.why, /proposes fast; it waits for the disk at most [\d.]+ % of its time/);
    const stays = /proposes fast, but memory would gain it nothing: .*\d runs on the disk, at most/;
    const quietNow = await explained(client, 'quiet');
    t.like(quietNow, { profile: 'standard', rule: 'no-gain' });
    t.regex(quietNow.why, stays);
    // What is started says so as well: its plan, the list of what runs, and the status page.
    const end = await start('quiet');
    const running = await until(async () => {
      const { applications } = await client.call('launch.list', {});
      return applications.find(({ rule }) => rule !== 'unmeasured');
    });
    t.like(running, { app: 'quiet', profile: 'standard', rule: 'no-gain' });
    t.regex(running.reason, stays);
    const { running: status } = await client.call('daemon.status', {});
    t.true(status?.applications.some(({ reason }) => stays.test(reason)));
    await end();
    // Who may decide has it as he says, and is told.
    const set = { profile: 'fast' as const };
    await client.call('app.set', { app: 'quiet', everybody: true, set, wait: true });
    const stated = await explained(client, 'quiet');
    t.like(stated, { profile: 'fast', rule: 'stated' });
    t.regex(stated.why, /says fast; memory would gain it nothing/);
  },
);
