import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { processesOf } from '../../../daemon/kernel/cgroups.ts';
import { placeProcess } from '../../../daemon/kernel/placed-process.ts';
import { processStat } from '../../../daemon/kernel/processes.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import { type Launch, planLaunch } from '../../../daemon/profiles/launch-plan.ts';
import { ownGroups } from '../../../daemon/profiles/own-groups.ts';
import { Placements, placementLimits } from '../../../daemon/profiles/placements.ts';
import { Running } from '../../../daemon/profiles/running.ts';
import { scopes } from '../../../daemon/profiles/scopes.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { compileLauncher } from '../../../scripts/launcher.ts';
import { answered, launched, launcherNeeds } from '../../ctl/launch-plans.ts';
import { asUser, privateTree, startLive, users } from '../../security/live-daemon.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { leavesOf, placed, sideGroup, until } from './side-group.ts';

const start = {
  app: 'x',
  profile: 'standard',
  rule: 'unknown',
  reason: 'a test',
  weights: {},
} as const;
const grouped = when(test, memoryNeeds);
/** Where systemd runs, it alone makes groups for programs. */
const unmanaged = () => (managerRuns() ? 'needs a machine without systemd' : memoryNeeds.other?.());
const live = when(test, { ...launcherNeeds, root: true, other: unmanaged });
const PATH = '/usr/local/bin:/usr/bin:/bin';
const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
const launcher = join(folder, 'persona-run');

test.before(() => {
  compileLauncher(launcher);
});
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** A program that runs until the test has ended. `begin` comes back when it has said a line. */
async function running(t: ExecutionContext, ...words: string[]) {
  const [file = '', ...args] = words;
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH },
    detached: true,
  });
  t.teardown(() => endOf(child));
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  return child;
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  process.kill(-(child.pid ?? 0), 'SIGKILL');
  await ended;
}

const waits = ['sh', '-c', 'echo begun; read line'];
grouped('only the very process is placed, with what it has forked', async (t) => {
  const { hierarchy, at } = sideGroup(t, 'one');
  const child = await running(
    t,
    'sh',
    '-c',
    'for i in 1 2 3 4 5; do sleep 600 & done; echo begun; wait',
  );
  const found = processStat(child.pid ?? 0);
  if (found === undefined) return t.fail('the program has gone');
  t.false(await placeProcess(at, hierarchy, { ...found, startTime: found.startTime + 1 }));
  t.false(await placeProcess(at, hierarchy, { ...found, uid: users.user }));
  t.deepEqual(processesOf(at), []);
  t.true(await placeProcess(at, hierarchy, found));
  t.is(processesOf(at).length, 6);
  t.true(processesOf(at).includes(found.pid));
  t.false(processesOf(at).includes(process.pid));
  await endOf(child);
  t.false(await placeProcess(at, hierarchy, found), 'its number names nobody');
});

grouped('a group for each launch, until it is empty, within limits', async (t) => {
  const { hierarchy, side, at } = sideGroup(t, 'limits');
  const limits = { ...placementLimits, perUserMax: 2, sweepMs: 20 };
  const parts = {
    groups: ownGroups(hierarchy, side),
    running: new Running(),
    now: () => 0,
    accountOf: (uid: number) => uid,
    log: silentLog,
    limits,
  };
  const placements = new Placements(parts);
  const children = [await running(t, ...waits), await running(t, ...waits)];
  const follow = (one: Placements, { pid = 0 }: ChildProcess, uid = 0) =>
    one.follow('x', { pid, uid }, start);
  for (const child of children) t.like(follow(placements, child), { state: 'follows' });
  const third = await running(t, ...waits);
  const full = follow(placements, third);
  t.is(full.state === 'none' && full.reason, 'this user has 2 groups already');
  t.like(follow(placements, third, users.user), {
    state: 'none',
    reason: 'the caller is not to be seen',
  });
  await until(() => leavesOf(at).flatMap(processesOf).length === 2);
  const placed = leavesOf(at).flatMap(processesOf).sort();
  t.deepEqual(placed, children.map(({ pid = 0 }) => pid).sort());
  // Another daemon takes them up, and its limits count them.
  await placements.close();
  t.is(leavesOf(at).length, 2);
  const next = new Placements(parts);
  await next.recover();
  t.is(next.count, 2);
  t.is(follow(next, third).state, 'none');
  for (const child of children) await endOf(child);
  await until(() => readdirSync(at, { withFileTypes: true }).every((one) => !one.isDirectory()));
  // The last folder goes before who has removed it goes on.
  await next.settled();
  t.is(next.count, 0);
  await next.close();
});

grouped('a group that is still to be made is not taken for an empty one', async (t) => {
  const { hierarchy, side, at } = sideGroup(t, 'coming');
  const groups = ownGroups(hierarchy, side);
  const made = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let puts = 0;
  const put: typeof groups.put = async (...one) => {
    puts += 1;
    // The second one takes longer than it is from one sweep to the next.
    if (puts === 2) {
      made.resolve();
      await release.promise;
    }
    return await groups.put(...one);
  };
  const account = 1000;
  const known = new Running();
  const limits = { sweepMs: 20 };
  const placements = new Placements({
    ...{ groups: { ...groups, put }, running: known, log: silentLog, limits },
    ...{ accountOf: () => account, now: () => 0 },
  });
  t.teardown(() => placements.close());
  const children = await Promise.all([1, 2, 3].map(() => running(t, ...waits)));
  const [first, ...others] = children.map(({ pid = 0 }) => ({ pid, uid: 0 }));
  await placements.place('x', first!, start);
  const placing = [placements.place('x', others[0]!, start)];
  await made.promise;
  // The timer of the sweep was set before this one: it waits behind the second by now.
  await pause(limits.sweepMs);
  placing.push(placements.place('x', others[1]!, start));
  release.resolve();
  for (const one of await Promise.all(placing)) t.like(one, { state: 'follows' });
  t.is(placements.count, 3);
  t.deepEqual(
    known.list(account).map((one) => one.process?.pid),
    children.map(({ pid }) => pid).reverse(),
  );
  t.is(leavesOf(at).flatMap(processesOf).length, 3);
});

grouped(
  'a launch of which nothing can be told is left where it is, and nothing waits',
  async (t) => {
    const { hierarchy, side } = sideGroup(t, 'untold');
    const groups = ownGroups(hierarchy, side);
    let isTold = false;
    const refusal: typeof groups.refusal = (...one) => {
      if (!isTold) throw new Error('too many open files');
      return groups.refusal(...one);
    };
    const warned: object[] = [];
    const placements = new Placements({
      ...{ groups: { ...groups, refusal }, running: new Running(), limits: { waitingMax: 1 } },
      ...{ accountOf: (uid: number) => uid, now: () => 0 },
      log: { ...silentLog, warn: (facts: object) => void warned.push(facts) },
    });
    t.teardown(() => placements.close());
    const { pid = 0 } = await running(t, ...waits);
    const reason = 'it cannot be put into a group of its own: too many open files';
    const untold = { state: 'none' as const, reason };
    t.deepEqual(await placements.place('x', { pid, uid: 0 }, start), untold);
    t.deepEqual(placements.follow('x', { pid, uid: 0 }, start), untold);
    t.is(warned.length, 1);
    t.is(placements.count, 0);
    t.false(placements.isPlacing(pid));
    isTold = true;
    t.like(await placements.place('x', { pid, uid: 0 }, start), { state: 'follows' });
  },
);

test('nothing is made where nothing may be', (t) => {
  const running = new Running();
  const parts = { accountOf: (uid: number) => uid, now: () => 0, running, log: silentLog };
  const hierarchy = { at: '/nonexistent', version: 2 as const, controllers: [] };
  const ways = [
    ownGroups(undefined, 'no-such-group'),
    ownGroups(hierarchy, 'no-such-group'),
    scopes(undefined),
  ];
  const reasons = ways.map((groups) =>
    new Placements({ ...parts, groups }).follow('x', { pid: process.pid, uid: 0 }, start),
  );
  for (const one of reasons) t.is(one.state, 'none');
  t.is(new Set(reasons.map((one) => one.state === 'none' && one.reason)).size, 3);
});

test('the plan is that of the selection: fast is given up aloud, secure is refused', (t) => {
  const application = { id: 'editor', facts: {} };
  const recognised = { by: 'nothing' as const };
  t.like(planLaunch({ application, recognised, obstacles: {} }), {
    profile: 'standard',
    notices: [],
    argv: [],
  });
  const fast = planLaunch({ application, recognised, wish: 'fast', obstacles: {} });
  t.is(fast.profile, 'standard');
  t.regex(fast.notices.join(), /fast/);
  const obstacles = { secure: 'it is not there' };
  t.throws(() => planLaunch({ application, recognised, wish: 'secure', obstacles }), {
    code: 'profile-unavailable',
  });
});

test('memory is announced for a program that is known, never on the word of its user', (t) => {
  const origin = { from: 'a test', confidence: 1, dateMs: 0 };
  const recognised = {
    by: 'executable' as const,
    path: '/usr/bin/editor',
    device: '1',
    inode: '2',
  };
  const of = (source: 'admin' | 'user') => ({
    id: 'editor',
    facts: { memory: [{ ...origin, source, value: 1 << 30 }] },
  });
  const planned = (source: 'admin' | 'user', by: Launch['recognised']) =>
    planLaunch({ application: of(source), recognised: by, obstacles: {} });
  t.is(planned('admin', recognised).memoryBytes, 1 << 30);
  t.is(planned('user', recognised).memoryBytes, undefined);
  const byName = { by: 'name' as const, name: 'editor' };
  t.is(planned('admin', byName).memoryBytes, undefined);
});

async function liveSide(t: ExecutionContext, name: string) {
  const group = sideGroup(t, name);
  const root = privateTree(t, `[partitions]\nuser = "${group.side}"\n`);
  return { ...group, root, daemon: await startLive(t, root) };
}

live(
  'a program is put into a group of its own, and stays there when the daemon ends',
  async (t) => {
    const { root, at, daemon } = await liveSide(t, 'live');
    const launch = () => {
      const child = spawn(launcher, ['org.example.Editor', '--', ...waits], {
        env: { PATH, PERSONA_ROOT: root },
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      });
      t.teardown(() => endOf(child));
      return child;
    };
    const { child, group: leaf } = await placed(at, launch, endOf);
    t.regex(leaf, /\/personad-user-0\/app-org\.example\.Editor-[0-9a-f]{12}$/);
    await daemon.end('SIGKILL');
    t.deepEqual(processesOf(leaf), [child.pid]);
    const again = await startLive(t, root);
    t.deepEqual(processesOf(leaf), [child.pid]);
    await endOf(child);
    // A clean stop removes what is empty.
    await until(() => processesOf(leaf).length === 0);
    await again.end('SIGTERM');
    t.deepEqual(leavesOf(at), []);
  },
);

live('users ask for themselves; what they call a program counts for nothing', async (t) => {
  const { at, daemon } = await liveSide(t, 'users');
  const given = await asUser(users.user, [], daemon.run, [
    ['launch.plan', { app: 'editor', dryRun: true }],
    ['launch.plan', { app: '../editor' }],
    ['launch.plan', { app: 'editor', profile: 'secure' }],
    ['launch.plan', { app: 'editor', pid: 1 }],
    ['launch.plan', { app: 'editor' }],
  ]);
  const codes = given.map(({ error }) => error?.code ?? 'ok');
  t.deepEqual(codes, ['ok', 'bad-request', 'profile-unavailable', 'bad-request', 'ok']);
  t.like(given[0]?.result as object, { profile: 'standard', placement: { state: 'none' } });
  const last = given[4]?.result as Answer<'launch.plan'> | undefined;
  t.is(last?.placement.state, 'follows');
  t.regex(
    JSON.stringify(last),
    new RegExp(`/personad-user-${users.user}/app-editor-[0-9a-f]{12}"`),
  );
  await daemon.end('SIGTERM');
  t.deepEqual(leavesOf(at), []);
});

live('a thousand launches at once all start', async (t) => {
  const { root, at, daemon } = await liveSide(t, 'many');
  const env = { PATH, PERSONA_ROOT: root };
  t.is((await answered(launcher, ['x', '--', 'true'], env)).err, '');
  const script = 'for i in $(seq 1000); do "$0" x -- echo on & done; wait';
  const { out, err } = await launched('sh', ['-c', script, launcher], env);
  t.is(out, 'on\n'.repeat(1000));
  // Who is not answered says so, once.
  for (const line of err.trim().split('\n').filter(Boolean))
    t.regex(line, /^persona-run: x starts as standard: /);
  t.true(err.split('\n').length <= 1001);
  const client = await daemon.client();
  t.like(await client.call('launch.plan', { app: 'x', dryRun: true }), { profile: 'standard' });
  await daemon.end('SIGTERM');
  t.deepEqual(leavesOf(at), []);
});
