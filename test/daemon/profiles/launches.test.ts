import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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
import { Catalogue } from '../../../daemon/profiles/catalogue.ts';
import { LateLaunches } from '../../../daemon/profiles/late-launches.ts';
import { type Launch, planLaunch } from '../../../daemon/profiles/launch-plan.ts';
import { ownGroups } from '../../../daemon/profiles/own-groups.ts';
import { PastStarts } from '../../../daemon/profiles/past-starts.ts';
import { Placements, placementLimits } from '../../../daemon/profiles/placements.ts';
import { Running, type RunningApplication } from '../../../daemon/profiles/running.ts';
import { keptIn, scopes } from '../../../daemon/profiles/scopes.ts';
import { Staying } from '../../../daemon/profiles/staying.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { wireLimits } from '../../../ipc/protocol.ts';
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
  const another = { pid: children[0]!.pid!, uid: 0, startTime: 1 };
  t.like(placements.follow('x', another, start), { reason: 'the caller is not to be seen' });
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

grouped('who found no room, or was not answered, is placed later', async (t) => {
  const { hierarchy, side, at } = sideGroup(t, 'late');
  const known = new Running();
  // As of a user and his subordinate ids.
  const account = () => 0;
  const parts = { running: known, accountOf: account, log: silentLog, now: () => 0 };
  const placements = new Placements({
    ...{ ...parts, groups: ownGroups(hierarchy, side) },
    limits: { perUserMax: 1, sweepMs: 20 },
  });
  const applications = { forLaunch: async () => new Catalogue([]), fileAt: () => undefined };
  const past = new PastStarts({
    ...{ ...parts, applications, placements, staying: new Staying(), policy: 'warn' },
  });
  const failed = (err: unknown) => t.fail(String(err));
  const late = new LateLaunches({
    ...{ placements, past, accountOf: account, failed },
    limits: { soonMs: 1, sweepMs: 20, becomesMs: 1_000, perUserMax: 3 },
  });
  t.teardown(async () => {
    await late.close();
    await placements.close();
  });
  const becomes = ['sh', '-c', 'echo begun; read go; exec sleep 600'];
  const [first, second, called, nameless] = await Promise.all(
    [waits, waits, becomes, becomes].map((words) => running(t, ...words)),
  );
  const of = ({ pid = 0 }: { pid?: number | undefined }) => ({ pid, uid: 0 });
  t.like(placements.follow('x', of(first!), start), { state: 'follows' });
  t.like(placements.follow('x', of(second!), start), { state: 'none' });
  // Who connected has ended, and his number is another user's by now.
  late.unplaced({ ...of(second!), uid: users.user }, start);
  late.refused({ ...of(called!), uid: users.user }, 'x');
  t.is(late.count, 0);
  // Who comes again and is answered is placed as he was answered.
  late.refused(of(called!), 'x');
  late.answered({ ...of(called!), uid: users.user });
  t.is(late.count, 1);
  late.answered(of(called!));
  t.is(late.count, 0);
  late.unplaced(of(second!), { ...start, profile: 'fast', reason: 'no room' });
  late.refused(of(called!), 'called');
  late.refused(of(called!), 'called');
  late.refused(of(nameless!));
  late.refused(of(process));
  t.is(late.count, 3, 'a user has as many as he may have');
  called!.stdin.write('go\n');
  nameless!.stdin.write('go\n');
  const found = new Map<string, RunningApplication>();
  const left = new Set([first!, second!, called!, nameless!]);
  while (left.size > 0) {
    // One at a time has room, whichever it is.
    const [one, its] = await until(() => {
      const [one] = known.list();
      const its = [...left].find(({ pid }) => pid === one?.process?.pid);
      return one && its && ([one, its] as const);
    });
    found.set(one.reason === 'no room' ? 'second' : one.app, one);
    t.deepEqual(leavesOf(at).flatMap(processesOf), [its.pid]);
    left.delete(its);
    await endOf(its);
  }
  t.deepEqual([...found.keys()].sort(), ['called', 'second', 'sleep', 'x']);
  for (const one of found.values()) t.like(one, { by: 'launch', profile: 'standard' });
  t.like(found.get('sleep'), { reason: 'nothing is known of this program' });
  await until(() => late.count === 0);
  // Whoever stays what he is was no launcher.
  late.refused(of(process));
  await until(() => late.count === 0);
  t.is(known.list().length, 0);
});

grouped(
  'late launches are looked at one look at a time, and cost little without room',
  async (t) => {
    let isFull = false;
    let looks = 0;
    const asked: number[] = [];
    const held = Promise.withResolvers<void>();
    const place = async (_: unknown, { pid }: { pid: number }) => {
      asked.push(pid);
      await held.promise;
      return { state: 'none', reason: 'no room' } as const;
    };
    const late = new LateLaunches({
      placements: {
        place,
        isFull() {
          looks += 1;
          return isFull;
        },
      },
      past: { late: (process) => place(undefined, process) },
      accountOf: (uid) => uid,
      failed: (err) => t.fail(String(err)),
      limits: { soonMs: 1, sweepMs: 3_600_000, becomesMs: 0 },
    });
    t.teardown(() => late.close());
    const many = 'for i in $(seq 30); do sleep 600 & done; echo begun; wait';
    const { pid = 0 } = await running(t, 'sh', '-c', many);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    t.is(children.length, 30);
    isFull = true;
    late.unplaced({ pid, uid: 0 }, start);
    isFull = false;
    await until(() => asked.length === 1);
    // It is full again, and one after the other comes while that look goes on.
    isFull = true;
    for (const child of children) {
      late.unplaced({ pid: Number(child), uid: 0 }, start);
      await pause(1);
    }
    // It becomes no other program in no time, and is the last one of a look.
    late.refused({ pid: process.pid, uid: 0 });
    t.is(late.count, 32);
    looks = 0;
    held.resolve();
    await until(() => late.count === 31);
    t.deepEqual(asked, [pid]);
    t.is(looks, 31);
  },
);

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

test('what was found is put elsewhere out of what desktops and terminals make, and nothing else', (t) => {
  const slice = 'user.slice/user-1000.slice';
  const apps = `${slice}/user@1000.service/app.slice`;
  const kept = (group: string, limits: Record<string, string> = {}) =>
    keptIn(group, 1000, (at, knob) => limits[`${at} ${knob}`] ?? 'max');
  for (const group of [
    `${apps}/vte-spawn-1.scope`,
    `${apps}/app-org.gnome.Terminal.slice/vte-spawn-1.scope`,
    `${apps}/tmux-spawn-1.scope`,
    `${apps}/app-gnome-xterm-12.scope`,
    `${slice}/app-personad-xterm-0123456789ab.scope`,
  ])
    t.is(kept(group), undefined, group);
  t.is(kept(`${slice}/session-3.scope`), 'it stays in its session (session-3.scope)');
  t.is(kept(`${slice}/session-3.scope/own`), 'it stays in its session (session-3.scope)');
  for (const group of [
    `${slice}/run-r1.scope`,
    `${apps}/app-indexer.service`,
    `${apps}/snap.browser.scope`,
    `${slice}/user@1000.service/session.slice/app-shell.scope`,
    `${slice}/user@2000.service/app.slice/app-a.scope`,
    'system.slice/ssh.service',
    '',
  ])
    t.is(kept(group), `it stays in ${group.slice(group.lastIndexOf('/') + 1)}`);
  const tab = `${apps}/vte-spawn-1.scope`;
  t.is(
    kept(tab, { [`${apps} memory.high`]: '1073741824' }),
    'it stays in vte-spawn-1.scope, with the limits of app.slice',
  );
  t.is(kept(tab, { [`${tab} cpu.max`]: 'max 100000' }), undefined);
  t.regex(kept(tab, { [`${tab} cpu.max`]: '50000 100000' }) ?? '', /limits of vte-spawn-1/);
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

/** Connects as a user until he has all the connections that he may have, and asks for nothing. */
const connects = `
  const [path, uid, count] = process.argv.slice(1);
  process.setgroups([]);
  process.setgid(Number(uid));
  process.setuid(Number(uid));
  const all = Array.from({ length: Number(count) }, () => require('net').connect(path));
  Promise.all(all.map((one) => new Promise((done) => one.on('connect', done)))).then(() => console.log('begun'));
  for (const one of all) one.on('error', () => undefined);
  process.stdin.resume();
`;

live('launches that are refused all start, and are placed later', async (t) => {
  const { root, at, daemon } = await liveSide(t, 'refused');
  const mine = join(root, 'persona-run');
  copyFileSync(launcher, mine);
  const socket = join(daemon.run, 'user.sock');
  const holds = [connects, socket, `${users.user}`, `${wireLimits.connectionsPerUid}`];
  const holder = await running(t, process.execPath, '-e', ...holds);
  const launches = Array.from({ length: 50 }, () => {
    const child = spawn(mine, ['x', '--', 'sleep', '600'], {
      env: { PATH, PERSONA_ROOT: root },
      ...{ uid: users.user, gid: users.user, detached: true },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.teardown(() => endOf(child));
    const one = { child, said: '' };
    child.stderr.on('data', (piece) => {
      one.said += piece;
    });
    return one;
  });
  const isPlaced = (child: ChildProcess) =>
    leavesOf(at).some((leaf) => processesOf(leaf).includes(child.pid ?? 0));
  // Who waits for a busy daemon no longer than he may was not refused.
  await until(() => launches.every(({ child, said }) => said !== '' || isPlaced(child)));
  for (const { said } of launches) t.regex(said, /^(persona-run: x starts as standard: .*\n)?$/);
  const refused = launches.filter(({ said }) => said.includes('ended the connection'));
  t.not(refused.length, 0);
  await until(() => refused.every(({ child }) => isPlaced(child)));
  const client = await daemon.client();
  const { applications } = await client.call('launch.list', {});
  t.true(applications.length >= refused.length);
  for (const one of applications) {
    t.like(one, { owner: users.user, by: 'launch', profile: 'standard' });
    t.is(processesOf(join(at, one.group.slice(one.group.indexOf('/')))).length, 1, 'its own');
  }
  await endOf(holder);
});
