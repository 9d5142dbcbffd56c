import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import {
  type Hierarchy,
  processesOf,
  readHierarchies,
  readKnob,
} from '../../../daemon/kernel/cgroups.ts';
import { ExecWatch } from '../../../daemon/kernel/exec-watch.ts';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { openInstalled } from '../../../daemon/kernel/installed-programs.ts';
import { callsInFlight } from '../../../daemon/kernel/libc.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import type { FactValues } from '../../../daemon/profiles/application.ts';
import { Catalogue } from '../../../daemon/profiles/catalogue.ts';
import { Layer } from '../../../daemon/profiles/layer.ts';
import { ownGroups } from '../../../daemon/profiles/own-groups.ts';
import { PastStarts } from '../../../daemon/profiles/past-starts.ts';
import { Placements } from '../../../daemon/profiles/placements.ts';
import { ProgramWatch, restMs } from '../../../daemon/profiles/program-watch.ts';
import { Running } from '../../../daemon/profiles/running.ts';
import { soughtIn } from '../../../daemon/profiles/sought.ts';
import { Staying } from '../../../daemon/profiles/staying.ts';
import type { ViolationPolicy } from '../../../daemon/profiles/violation.ts';
import { asUser, privateTree, startLive, users } from '../../security/live-daemon.ts';
import { memoryHierarchy, memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { leavesOf, sideGroup, until } from './side-group.ts';

// Programs that people start without the daemon, on a machine without systemd: real processes, watched by the kernel or looked for.

const unified = readHierarchies().find(({ version }) => version === 2);
const canWatch = (() => {
  try {
    return new ExecWatch(() => undefined);
  } catch {
    return undefined;
  }
})();
const watched = when(test, {
  root: true,
  other: () => (canWatch === undefined ? 'needs fanotify' : undefined),
});
void canWatch?.close();
const grouped = when(test, memoryNeeds);
const frozen = when(test, {
  root: true,
  other: () => (unified === undefined ? 'needs cgroup version 2' : undefined),
});
const unmanaged = () => (managerRuns() ? 'needs a machine without systemd' : memoryNeeds.other?.());
const live = when(test, { root: true, other: unmanaged });

const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
chmodSync(folder, 0o755);
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** A program file of its own that waits, on a machine below `root`. */
function programAt(root: string, path: string): string {
  const file = join(root, path);
  mkdirSync(join(file, '..'), { recursive: true });
  copyFileSync('/usr/bin/dash', file);
  chmodSync(file, 0o755);
  return file;
}

/** Starts a program as a person; it runs until its input ends. */
async function start(
  t: ExecutionContext,
  file: string,
  {
    script = 'echo begun; read line',
    uid = users.user as number,
    before = [] as string[],
    arg = 'x',
  } = {},
) {
  const [first = '', ...words] = [...before, file, '-c', script, arg];
  const child = spawn(first, words, {
    ...(uid === 0 ? {} : { uid, gid: uid }),
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null)
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    await ended;
  });
  await once(createInterface({ input: child.stdout }), 'line');
  return { child, ended, pid: child.pid ?? 0 };
}

const end = (child: ChildProcess) => child.stdin?.end();

/** What is known: one application, or several, started by this file. */
function catalogueOf(path: string, facts: Partial<FactValues>, ids = ['paint']): Catalogue {
  const { dev, ino } = statSync(path, { bigint: true });
  const origin = { source: 'admin', from: 'a test', confidence: 1, dateMs: 0 } as const;
  const programs = [{ path, real: path, device: `${dev}`, inode: `${ino}` }];
  const values = { executables: [path], ...facts };
  return new Catalogue([
    new Layer(
      ids.map((id) => ({ of: { id }, ...origin, values })),
      programs,
    ),
  ]);
}

/** A daemon's part that looks for one application. `open`: its file can be watched. */
function world(
  t: ExecutionContext,
  catalogue: () => Catalogue,
  {
    hierarchy = memoryHierarchy()!,
    policy = 'warn',
    open = true,
  }: { hierarchy?: Hierarchy; policy?: ViolationPolicy; open?: boolean } = {},
) {
  const { side, at } = sideGroup(t, `past-${Math.random().toString(36).slice(2)}`, hierarchy);
  const running = new Running();
  const told = new Set<number>();
  const accountOf = (uid: number) => uid;
  const placements = new Placements({
    ...{ running, accountOf, log: silentLog },
    groups: ownGroups(hierarchy, side),
    now: () => 1,
    limits: { sweepMs: 20 },
  });
  const past = new PastStarts({
    ...{ accountOf, placements, running, staying: new Staying(), policy, log: silentLog },
    now: () => 1,
    applications: { forLaunch: async () => catalogue(), fileAt: () => undefined },
  });
  const programs = new ProgramWatch({
    sought: () => soughtIn(catalogue()),
    open: (path) => (open ? openInstalled('/', path) : undefined),
    async found(pid) {
      await past.take(pid);
      told.add(pid);
    },
    log: silentLog,
  });
  t.teardown(async () => {
    await programs.close();
    await placements.close();
  });
  programs.changed();
  return { running, programs, placements, at, told };
}

test('the more there is to look at, the less often it is looked at', (t) => {
  t.deepEqual([0, 5, 12, 24, 60, 120, 5_000].map(restMs), [
    ...[60_000, 60_000, 60_000, 120_000, 300_000],
    ...[600_000, 600_000],
  ]);
});

watched('the kernel tells who begins to execute a file, and of no other one', async (t) => {
  const [mine, other] = [programAt(folder, 'watched'), programAt(folder, 'not-watched')];
  const [fds, calls] = [openFds(), callsInFlight()];
  const heard: (number | undefined)[] = [];
  const watch = new ExecWatch((pid) => heard.push(pid));
  const opened = openInstalled('/', mine)!;
  t.is(watch.watch([opened.file]), 1);
  opened.file.close();
  await start(t, other);
  const { pid } = await start(t, mine);
  await until(() => heard.length > 0);
  t.deepEqual(heard, [pid]);
  // A shell that becomes it later keeps its number.
  const later = await start(t, mine, { before: ['/bin/sh', '-c', 'exec "$@"', 'sh'] });
  await until(() => heard.length > 1);
  t.deepEqual(heard, [pid, later.pid]);
  t.is(watch.watch([]), 0);
  await watch.close();
  t.is(openFds(), fds);
  t.is(callsInFlight(), calls);
});

for (const open of [true, false])
  grouped(
    `a program is put into a group of its own, ${open ? 'told by the kernel' : 'looked for'}`,
    async (t) => {
      const paint = programAt(folder, `paint-${open}`);
      const catalogue = catalogueOf(paint, { profile: 'fast' });
      const { running, at } = world(t, () => catalogue, { open });
      const early = await start(t, paint);
      await until(() => running.list().length === 1);
      const late = await start(t, paint, { script: 'echo begun; read go; sleep 600 & exit 0' });
      const { pid: other } = await start(t, programAt(folder, `other-${open}/paint`));
      await until(() => running.list().length === 2);
      const [found] = running.list(users.user);
      t.like(found, { app: 'paint', profile: 'standard', rule: 'stated', by: 'found' });
      t.regex(found?.reason ?? '', /the next start through personad will be$/);
      t.deepEqual(leavesOf(at).flatMap(processesOf).sort(), [early.pid, late.pid].sort());
      t.false(leavesOf(at).flatMap(processesOf).includes(other));
      // What it leaves behind is still the application.
      late.child.stdin?.write('go\n');
      await late.ended;
      end(early.child);
      await until(() => running.list().length === 1);
      const [left] = leavesOf(at).flatMap(processesOf);
      process.kill(left!, 'SIGKILL');
      await until(() => running.list().length === 0);
    },
  );

grouped('services, root and what has processes of its own are left alone', async (t) => {
  const paint = programAt(folder, 'left');
  const catalogue = catalogueOf(paint, { cpu: 'background' });
  const { running, at, told } = world(t, () => catalogue);
  const others = [await start(t, paint, { uid: 5 }), await start(t, paint, { uid: 0 })];
  const apart = ['unshare', '--user', '--pid', '--fork', '--kill-child'];
  await start(t, paint, { before: apart });
  const mine = await start(t, paint);
  await until(() => told.size === 4);
  t.true(others.every(({ pid }) => told.has(pid)));
  t.is(running.list().length, 1);
  t.deepEqual(leavesOf(at).flatMap(processesOf), [mine.pid]);
});

grouped('who runs already is found when something is said of it, and nobody else', async (t) => {
  const paint = programAt(folder, 'before');
  let facts: Partial<FactValues> = {};
  const { running, programs, at } = world(t, () => catalogueOf(paint, facts));
  const { pid } = await start(t, paint);
  t.deepEqual(await soughtIn(catalogueOf(paint, facts)), []);
  facts = { security: 'required' };
  programs.changed();
  await until(() => running.list()[0]?.violation);
  t.regex(running.list()[0]?.violation ?? '', /must be kept apart .* past personad; it goes on/);
  t.deepEqual(leavesOf(at).flatMap(processesOf), [pid]);
});

grouped('what was launched stays what it is', async (t) => {
  const paint = programAt(folder, 'launched');
  // It is the one of several that it was launched as.
  const catalogue = catalogueOf(paint, { security: 'required' }, ['another', 'paint']);
  const { running, placements, told } = world(t, () => catalogue);
  const script = 'echo begun; read go; exec "$0" -c "sleep 600 & read line"';
  const { child, pid } = await start(t, '/bin/dash', { script, arg: paint });
  const known = { app: 'paint', profile: 'secure', rule: 'required', reason: 'a test' } as const;
  const placed = placements.follow('paint', { pid, uid: users.user }, { ...known, weights: {} });
  child.stdin?.write('go\n');
  await until(() => told.has(pid));
  t.like(running.list(), [
    { ...known, by: 'launch', group: placed.state === 'follows' && placed.group },
  ]);
  t.is(running.list().length, 1);
});

for (const policy of ['freeze', 'kill'] as const)
  for (const hierarchy of [unified, memoryHierarchy(1)].filter((one) => one !== undefined))
    frozen(`what must be kept apart: ${policy}, version ${hierarchy.version}`, async (t) => {
      const vault = programAt(folder, `vault-${policy}-${hierarchy.version}`);
      const catalogue = catalogueOf(vault, { profile: 'secure' });
      const { running, at } = world(t, () => catalogue, { hierarchy, policy });
      const { ended } = await start(t, vault, { script: 'sleep 600 & echo begun; read line' });
      if (policy === 'kill') {
        await ended;
        await until(() => leavesOf(at).flatMap(processesOf).length === 0);
        return t.pass();
      }
      const told = await until(() => running.list()[0]?.violation);
      t.regex(told, hierarchy.version === 2 ? /it is frozen$/ : /version 1 are not frozen$/);
      const [leaf = ''] = leavesOf(at);
      t.is(readKnob(leaf, 'cgroup.freeze'), hierarchy.version === 2 ? '1' : undefined);
    });

live('a daemon finds what was started without it, and knows it when it starts again', async (t) => {
  const { side, at } = sideGroup(t, 'past-live');
  const root = privateTree(t, `[partitions]\nuser = "${side}"\n`);
  const paint = programAt(root, 'machine/usr/bin/paint');
  const vault = programAt(root, 'machine/opt/vault');
  for (const path of ['machine', 'machine/usr', 'machine/usr/bin', 'machine/opt'])
    chmodSync(join(root, path), 0o755);
  const daemon = await startLive(t, root);
  const client = await daemon.client();
  const state = (app: string, set: object) =>
    client.call('app.set', { app, everybody: true, set, wait: true });
  await state('paint', { executables: ['/usr/bin/paint'], cpu: 'background' });
  await state('vault', { executables: ['/opt/vault'], security: 'required' });
  const [one, two] = [await start(t, paint), await start(t, vault)];
  const list = async () => (await client.call('launch.list', {})).applications;
  await until(async () => (await list()).length === 2);
  t.deepEqual((await list()).map(({ app, by, owner }) => [app, by, owner]).sort(), [
    ['paint', 'found', users.user],
    ['vault', 'found', users.user],
  ]);
  const isTold = async (by: typeof client) =>
    JSON.stringify(await by.call('daemon.status', {})).includes('must be kept apart');
  await until(() => isTold(client));
  const [given] = await asUser(users.other, [], daemon.run, [['launch.list', {}]]);
  t.deepEqual(given?.result, { applications: [], more: 0 });
  const before = leavesOf(at).sort();
  await daemon.end('SIGKILL');
  const again = await (await startLive(t, root)).client();
  await until(async () => (await again.call('launch.list', {})).applications.length === 2);
  await until(() => isTold(again));
  t.deepEqual(leavesOf(at).sort(), before, 'in the groups in which it was');
  t.deepEqual(leavesOf(at).flatMap(processesOf).sort(), [one.pid, two.pid].sort());
});
