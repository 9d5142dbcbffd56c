import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import { connect, socketPaths } from '../../../ipc/client.ts';
import { longScope, privateTree } from '../../security/live-daemon.ts';
import { type ApartGround, apartGround, apartNeeds, becoming } from '../../support/apart.ts';
import {
  type Application,
  applications,
  furniture,
  type Profile,
  profiles,
  type Workplace,
  works,
} from '../../support/application-work.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { lacking, run, when } from '../../support/needs.ts';
import { endFastGroups, userSide } from '../../support/program-groups.ts';
import { games } from './small-machine.ts';

// Applications from Debian packages, started by the launcher as an ordinary user in every profile: they do their work, and
// afterwards the disk has it.

/** A second program of every application: it runs until its input ends, and so the application does. */
const companion = 'cat';
const restMs = 20;
/** Nothing takes longer, also on a busy machine. */
const limitMs = 120_000;
/** Memory is asked for at a launch, and is there for one of the next. */
const launchesMax = 20;

const needs = {
  ...apartNeeds,
  tools: [...apartNeeds.tools, companion, 'mount', 'which'],
  other: () =>
    managerRuns()
      ? 'needs a machine without systemd'
      : (apartNeeds.other() ?? memoryNeeds.other?.()),
};
const scope = longScope();
let ground: ApartGround;
/** The folder of the user, and his enclave. */
let home: string;
let vault: string;

/** Shows a program of this machine at its place in the tree that stands for it: the very file, as applications are known by. */
function showProgram(machine: string, name: string): string {
  const path = `/usr/bin/${name}`;
  const place = join(machine, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, '');
  run('mount', '--bind', realpathSync(run('which', name).trim()), place);
  return path;
}

test.before('a daemon that knows the applications, and the enclave of a user', async () => {
  if (lacking(needs) !== undefined) return;
  const root = privateTree(scope, userSide(scope));
  endFastGroups(scope, root);
  const machine = join(root, 'machine');
  home = join(machine, games.home);
  mkdirSync(home, { recursive: true });
  chownSync(home, games.uid, games.gid);
  ground = await apartGround(scope, root);
  const client = await ground.daemon.client();
  const other = showProgram(machine, companion);
  for (const app of applications.filter((one) => lacking({ tools: [one] }) === undefined)) {
    const executables = [showProgram(machine, app), other];
    const set = { executables, data: [`~/fast-${app}`], lossOk: true };
    await client.call('app.set', { app, everybody: true, set, wait: true });
  }
  vault = await ground.enclave('vault', games.uid, true, 128 * 1024 ** 2);
});
test.after.always(() => scope.end());

/** What works in memory of this application; asked anew, since a browser takes longer than a connection may be idle. */
async function working(app: Application) {
  const client = await connect(socketPaths(ground.daemon.run));
  try {
    const { inMemory = [] } = await client.call('daemon.status', {});
    return inMemory.find((one) => one.app === app);
  } finally {
    client.close();
  }
}

/** Waits until `question` has an answer. */
async function until<T>(what: string, question: () => Promise<T | undefined>): Promise<T> {
  for (const endMs = performance.now() + limitMs; performance.now() < endMs; await pause(restMs)) {
    const found = await question();
    if (found !== undefined) return found;
  }
  throw new Error(`${what}: not within ${limitMs} ms`);
}

/** Starts a program by the launcher as the user. It is killed after its time, or with the test, and all that it has started. */
function start(t: ExecutionContext, words: readonly string[]) {
  const [file = '', ...args] = [...becoming(games.uid), ground.launcher, ...words];
  const PATH = '/usr/local/bin:/usr/bin:/bin';
  const child = spawn(file, args, {
    cwd: '/',
    env: { PATH, HOME: home, PERSONA_ROOT: ground.daemon.root },
    detached: true,
  });
  const said = { out: '', err: '' };
  child.stdout.on('data', (piece) => {
    said.out += String(piece);
  });
  child.stderr.on('data', (piece) => {
    said.err += String(piece);
  });
  const kill = () => process.kill(-(child.pid ?? 0), 'SIGKILL');
  const late = setTimeout(kill, limitMs);
  const ended = once(child, 'close').finally(() => clearTimeout(late));
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) kill();
    await ended;
  });
  return {
    said,
    hasEnded: () => child.exitCode !== null,
    /** Ends its input, waits for its end, and answers its status. */
    async end(): Promise<number | null> {
      child.stdin.end();
      await ended;
      return child.exitCode;
    },
  };
}

/** Holds the folders of the application in memory until the answer is called, which waits until the disk has all. */
async function held(t: ExecutionContext, app: Application): Promise<() => Promise<void>> {
  for (let left = launchesMax; left > 0; left -= 1) {
    const one = start(t, ['--profile', 'fast', app, '--', companion]);
    const serves = await until(`${app} has started`, async () => {
      if (one.said.err !== '' || one.hasEnded()) return false;
      return (await working(app))?.state === 'serving' || undefined;
    });
    const end = async () => {
      t.is(await one.end(), 0, one.said.err);
    };
    if (serves)
      return async () => {
        await end();
        const onDisk = async () => (await working(app)) === undefined || undefined;
        await until(`the disk has what ${app} has written`, onDisk);
      };
    t.regex(one.said.err, /starts as standard: /);
    await end();
    const filled = async () => (await working(app))?.state !== 'filling' || undefined;
    await until(`the memory of ${app} is there`, filled);
  }
  throw new Error(`${app} was not started in memory by ${launchesMax} launches`);
}

/** Runs a program as the user, to its good end. */
function outside(...command: string[]): Promise<string> {
  const [file = '', ...args] = [...becoming(games.uid), ...command];
  return Promise.resolve(run(file, ...args));
}

/** A folder for an application to work in. */
async function workplace(t: ExecutionContext, profile: Profile, app: Application) {
  const name = `${profile}-${app}`;
  const disk = join(profile === 'secure' ? vault : home, name);
  mkdirSync(disk);
  for (const [one, text] of Object.entries(furniture))
    if (text === undefined) mkdirSync(join(disk, one));
    else writeFileSync(join(disk, one), text);
  for (const one of ['', ...Object.keys(furniture)])
    chownSync(join(disk, one), games.uid, games.gid);
  const end = profile === 'fast' ? await held(t, app) : async () => undefined;
  const words = ['--profile', profile, app, '--'];
  const place: Workplace = {
    seen: profile === 'secure' ? `/home/user/${name}` : disk,
    disk,
    end,
    outside,
    bytes: async (path) => readFileSync(path),
    async work(...command) {
      for (let left = launchesMax; ; left -= 1) {
        const one = start(t, [...words, ...command]);
        const status = await one.end();
        const { out, err } = one.said;
        // A busy machine may use up what a launch waits for its answer. What then ran as standard was outside of the memory.
        const late = / no answer in time$/m.test(err);
        if (late && left > 0) continue;
        t.false(late || /starts as standard/.test(err), err);
        t.is(status, 0, err);
        return out;
      }
    },
  };
  return place;
}

for (const app of applications)
  for (const profile of profiles)
    when(test, { ...needs, tools: [...needs.tools, app] })(`${app} in ${profile}`, async (t) => {
      await works[app](t, await workplace(t, profile, app));
    });
