import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import {
  createGroup,
  moveProcess,
  processesOf,
  readHierarchies,
  readKnob,
} from '../../../daemon/kernel/cgroups.ts';
import { deviceNumber, runningProgram } from '../../../daemon/kernel/running-program.ts';
import type { FactValues } from '../../../daemon/profiles/application.ts';
import { Catalogue } from '../../../daemon/profiles/catalogue.ts';
import { Detector } from '../../../daemon/profiles/detector.ts';
import { Layer } from '../../../daemon/profiles/layer.ts';
import { Running } from '../../../daemon/profiles/running.ts';
import { scopeLimits, UserScopes } from '../../../daemon/profiles/user-scopes.ts';
import type { ViolationPolicy } from '../../../daemon/profiles/violation.ts';
import { removeGroup } from '../../support/container-life.ts';
import { when } from '../../support/needs.ts';
import { sideGroup } from './side-group.ts';

// Programs in groups as desktops make them: real groups and processes, below a group of the test's own.

const at = readHierarchies().find(({ version }) => version === 2)?.at ?? '';
const grouped = when(test, {
  root: true,
  other: () => (at === '' ? 'needs cgroup version 2' : undefined),
});
const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** A program file of its own that waits; what it is called plays no part. */
function programFile(name: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  copyFileSync('/usr/bin/dash', path);
  return path;
}

/** What is known: one application, started by this file. */
function catalogueOf(path: string, facts: Partial<FactValues>): Catalogue {
  const { dev, ino } = statSync(path, { bigint: true });
  const origin = { source: 'admin', from: 'a test', confidence: 1, dateMs: 0 } as const;
  const values = { executables: [path], ...facts };
  const programs = [{ path, real: path, device: `${dev}`, inode: `${ino}` }];
  return new Catalogue([new Layer([{ of: { id: 'paint' }, ...origin, values }], programs)]);
}

/** Folders between the group of all users and what is made in the tree of one. */
const levelsAbove = 3;

interface World {
  running: Running;
  scopes: UserScopes;
  /** Makes the group of an application, as the user's manager would. */
  scope(name: string): string;
}

async function world(
  t: ExecutionContext,
  catalogue: Catalogue,
  {
    policy = 'warn' as ViolationPolicy,
    limits = scopeLimits,
    launched = (_: number): boolean => false,
  } = {},
): Promise<World> {
  const users = `persona-test-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const apps = `${users}/user-0.slice/user@0.service/app.slice`;
  const running = new Running();
  const detector = new Detector({
    at,
    applications: { forLaunch: async () => catalogue, fileAt: () => undefined },
    accountOf: (uid) => uid,
    running,
    isLaunched: launched,
    policy,
    now: () => 1,
    log: silentLog,
  });
  const scopes = new UserScopes(at, detector, limits);
  t.teardown(async () => {
    scopes.close();
    await detector.close();
    await removeGroup(`${at}/${users}`);
  });
  createGroup(`${at}/${users}`);
  await scopes.start(users);
  // The user logs in after the daemon has begun.
  mkdirSync(`${at}/${apps}`, { recursive: true });
  return {
    running,
    scopes,
    scope(name) {
      createGroup(`${at}/${apps}/${name}`);
      return `${at}/${apps}/${name}`;
    },
  };
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await pause(5);
}

async function start(
  t: ExecutionContext,
  path: string,
  script = 'echo begun; read line',
  before: readonly string[] = [],
) {
  const [first = '', ...words] = [...before, path, '-c', script];
  const child = spawn(first, words, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  });
  await once(createInterface({ input: child.stdout }), 'line');
  return { child, ended, pid: child.pid ?? 0 };
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    .split(' ')
    .filter(Boolean)
    .map(Number);

const end = (child: ChildProcess) => child.stdin?.end();

grouped('a program is known by its file, whatever its group and itself are called', async (t) => {
  const paint = programFile('paint');
  const { running, scope } = await world(t, catalogueOf(paint, { profile: 'fast' }));
  const group = scope('app-gnome-calculator-7.scope');
  const { child, pid } = await start(t, paint);
  await moveProcess(group, pid);
  await until(() => running.list().length === 1);
  const [found] = running.list();
  t.like(found, { app: 'paint', account: 0, profile: 'standard', by: 'found', rule: 'stated' });
  t.is(`${at}/${found?.group}`, group);
  t.is(found?.violation, undefined);
  // One of the same name is not it.
  const other = await start(t, programFile('other/paint'));
  const fake = scope('app-paint-8.scope');
  await moveProcess(fake, other.pid);
  end(child);
  await until(() => running.list().length === 0);
  t.deepEqual(processesOf(fake), [other.pid]);
});

grouped('it runs as long as anything runs in its group, whoever began', async (t) => {
  const paint = programFile('forks');
  const { running, scope } = await world(t, catalogueOf(paint, {}));
  const group = scope('app-x.scope');
  const script = 'echo begun; read go; sleep 600 & exit 0';
  const { child, pid, ended } = await start(t, paint, script);
  await moveProcess(group, pid);
  await until(() => running.list().length === 1);
  child.stdin?.write('go\n');
  await ended;
  const left = processesOf(group);
  t.is(left.length, 1);
  t.is(running.list().length, 1, 'what it left goes on');
  process.kill(left[0]!, 'SIGKILL');
  await until(() => running.list().length === 0);
  t.pass();
});

for (const policy of ['warn', 'freeze', 'kill'] as const)
  grouped(`what must be kept apart is told, and ${policy} is done`, async (t) => {
    const vault = programFile(`vault-${policy}`);
    const catalogue = catalogueOf(vault, { security: 'required' });
    const { running, scope } = await world(t, catalogue, { policy });
    const group = scope('app-vault.scope');
    const { pid, ended } = await start(t, vault);
    await moveProcess(group, pid);
    if (policy === 'kill') {
      await ended;
      await until(() => running.list().length === 0);
      return t.pass();
    }
    await until(() => running.list().length === 1);
    t.regex(running.list()[0]?.violation ?? '', /must be kept apart .* past personad/);
    t.is(readKnob(group, 'cgroup.freeze'), policy === 'freeze' ? '1' : '0');
  });

for (const policy of ['freeze', 'kill'] as const)
  grouped(`what ends while ${policy} is done is not told as running`, async (t) => {
    const vault = programFile(`ends-${policy}`);
    const scope = sideGroup(t, `ends-${policy}`, { at, version: 2, controllers: [] });
    const { pid } = await start(t, vault);
    await moveProcess(scope.at, pid);
    const told = { group: scope.side, account: 0 };
    const running = new Running();
    const stopped = Promise.withResolvers<void>();
    const detector = new Detector({
      at,
      applications: {
        forLaunch: async () => catalogueOf(vault, { security: 'required' }),
        fileAt: () => undefined,
      },
      ...{ running, policy, accountOf: (uid) => uid, isLaunched: () => false, now: () => 1 },
      log: {
        ...silentLog,
        // It is said just before anything is done: what the kernel tells of the end comes before that is over.
        warn: () =>
          queueMicrotask(() => {
            detector.ended(told);
            stopped.resolve();
          }),
      },
    });
    t.teardown(() => detector.close());
    detector.began(told);
    await stopped.promise;
    await until(
      () => readKnob(scope.at, 'cgroup.freeze') === '1' || processesOf(scope.at).length === 0,
    );
    t.deepEqual(running.list(), []);
  });

grouped('who was started through the daemon is left to it', async (t) => {
  const paint = programFile('launched');
  let asked = 0;
  const launched = () => {
    asked += 1;
    return true;
  };
  const { running, scope } = await world(t, catalogueOf(paint, {}), { launched });
  const { pid } = await start(t, paint);
  await moveProcess(scope('app-x.scope'), pid);
  await until(() => asked > 2);
  t.deepEqual(running.list(), []);
});

grouped('what was started apart is no violation while its launcher is on its way', async (t) => {
  const vault = programFile('apart');
  const catalogue = catalogueOf(vault, { security: 'required' });
  const asked: number[] = [];
  const { running, scope } = await world(t, catalogue, {
    policy: 'kill',
    launched: (pid) => asked.push(pid) > 0 && pid === launcher.pid,
  });
  // As bubblewrap: what the daemon knows waits for a child that is the program.
  const apart = ['unshare', '--pid', '--fork', '--kill-child'];
  const launcher = await start(t, vault, 'echo begun; read line', apart);
  const [program] = childrenOf(launcher.pid);
  const group = scope('app-x.scope');
  await moveProcess(group, program!);
  await until(() => asked.length > 2 || processesOf(group).length === 0);
  t.deepEqual(running.list(), []);
  t.deepEqual(processesOf(group), [program]);
  // The same program beside it is one.
  const { ended, pid } = await start(t, vault);
  const other = scope('app-y.scope');
  await moveProcess(other, pid);
  await ended;
  t.deepEqual(processesOf(group), [program]);
});

grouped(
  'groups that a user makes are watched up to a limit, and forgotten when they go',
  async (t) => {
    const paint = programFile('many');
    const limits = { perUserMax: 100, allMax: 4096 };
    const { running, scopes, scope } = await world(t, catalogueOf(paint, {}), { limits });
    const groups = Array.from({ length: 1_000 }, (_, at) => scope(`app-fake-${at}.scope`));
    await until(() => scopes.count === limits.perUserMax);
    t.is(running.list().length, 0);
    for (const group of groups) {
      t.true(scopes.count <= limits.perUserMax);
      await removeGroup(group);
    }
    await until(() => scopes.count === 0);
    // The same name again is another group.
    const { pid, child } = await start(t, paint);
    await moveProcess(scope('app-fake-0.scope'), pid);
    await until(() => running.list().length === 1);
    end(child);
    await until(() => running.list().length === 0);
  },
);

/** How many names and files this process watches. */
function watches(): number {
  const fds = readdirSync('/proc/self/fd').map((fd) => `/proc/self/fdinfo/${fd}`);
  const texts = fds.filter((path) => existsSync(path)).map((path) => readFileSync(path, 'latin1'));
  return texts.join('').match(/^inotify /gm)?.length ?? 0;
}

grouped('slices that a user makes are watched up to the same limit', async (t) => {
  const paint = programFile('slices');
  const limits = { perUserMax: 50, allMax: 4096 };
  const { running, scopes, scope } = await world(t, catalogueOf(paint, {}), { limits });
  const before = watches();
  const slices = Array.from({ length: 300 }, (_, at) => scope(`app-fake-${at}.slice`));
  await until(() => scopes.count === limits.perUserMax);
  for (const slice of slices) {
    t.true(scopes.count <= limits.perUserMax);
    // Folders on the way to them are watched as well.
    t.true(watches() <= before + limits.perUserMax + levelsAbove);
    await removeGroup(slice);
  }
  await until(() => scopes.count === 0);
  const { pid, child } = await start(t, paint);
  scope('app-real.slice');
  await moveProcess(scope('app-real.slice/app-real.scope'), pid);
  await until(() => running.list().length === 1);
  t.is(scopes.count, 2);
  end(child);
  await until(() => running.list().length === 0);
});

test('what a process runs is told by the numbers that stat has', (t) => {
  const { dev, ino } = statSync(process.execPath, { bigint: true });
  t.like(runningProgram(process.pid), { pid: process.pid, device: `${dev}`, inode: `${ino}` });
  t.is(runningProgram(2 ** 22 + 1), undefined);
  t.is(deviceNumber('259:1048577'), (0x100000n << 12n) | (259n << 8n) | 1n);
});
