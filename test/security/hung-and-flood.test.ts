import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Client } from '../../ipc/client.ts';
import type { PersonaError } from '../../ipc/errors.ts';
import { wireLimits } from '../../ipc/protocol.ts';
import { hasFuse, mountHung } from '../support/hung-mount.ts';
import { lacking, when } from '../support/needs.ts';
import {
  type Asked,
  asUser,
  done,
  longScope,
  privateTree,
  type Scope,
  startLive,
  users,
} from './live-daemon.ts';
import { furnish, type Place } from './place.ts';

// What other users do meanwhile keeps nobody from a swap and the status: SECURITY 16 and 26 (homes that hang), 27 (a flood).

const needs = {
  root: true,
  tools: ['setpriv', 'bwrap', 'prlimit', 'unshare', 'mount'],
  other: () => hasFuse() ?? (existsSync('/etc/subuid') ? undefined : 'needs /etc/subuid'),
};
const crowdProgram = fileURLToPath(new URL('./crowd.ts', import.meta.url));
const hung = { first: 31_100, count: 20 };
const flooding = { owner: 31_200, first: 3_000_000, count: 1_000 };
const SWAPS = 20;
/** Less than the runner's, which ends the whole file. */
const testMs = 120_000;

const scope = longScope();
let place: Place;
if (lacking(needs) === undefined) {
  test.before(async () => {
    const root = privateTree(scope);
    // Before the daemon, which has a mount namespace of its own.
    for (let n = 0; n < hung.count; n += 1) {
      const home = join(root, `machine/home/u${hung.first + n}/.config`);
      mkdirSync(home, { recursive: true });
      scope.teardown(mountHung(home).release);
    }
    const daemon = await startLive(scope, root, [], { through: withAccounts(root) });
    place = await furnish(daemon);
  });
  test.after.always(() => scope.end());
}

/** Words behind which a program sees accounts that the machine does not have: users whose homes hang, and one with subordinate ids. */
function withAccounts(root: string): string[] {
  const [passwd, subuid] = [join(root, 'passwd'), join(root, 'subuid')];
  copyFileSync('/etc/passwd', passwd);
  const account = (uid: number) => `u${uid}:x:${uid}:${uid}::/home/u${uid}:/bin/sh\n`;
  for (let n = 0; n < hung.count; n += 1) appendFileSync(passwd, account(hung.first + n));
  appendFileSync(passwd, account(flooding.owner));
  appendFileSync(subuid, `u${flooding.owner}:${flooding.first}:${flooding.count}\n`);
  const covers = [passwd, subuid].map(
    (file) => `mount --bind ${file} /etc/${file.split('/').at(-1)}`,
  );
  const script = [...covers, 'exec "$@"'].join(' && ');
  return ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, 'sh'];
}

/** What each of the crowd was told first: by its uid; `cut` when its connection was ended instead. */
interface Told {
  uid: number;
  cut?: true;
  result?: { problems: { text: string }[] };
  error?: { code: string };
}

/** Users of one process (`crowd.ts`), each of whom asks for `method` once. */
function startCrowd(t: Scope, { first, count }: { first: number; count: number }, method: string) {
  const words = [`${place.daemon.run}/user.sock`, first, count, method].map(String);
  const child = spawn(process.execPath, ['--no-warnings', crowdProgram, ...words], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const told: Told[] = [];
  const all = Promise.withResolvers<void>();
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    if (told.length < count && told.push(JSON.parse(line)) === count) all.resolve();
  });
  void ended.then(() => all.reject(new Error(`the crowd has ended after ${told.length} lines`)));
  return {
    told,
    all: all.promise,
    /** From now on all ask for these, over and over. It is under way when some were answered, some refused and some cut off. */
    async flood(asked: readonly Asked[]): Promise<void> {
      child.stdin.write(`${JSON.stringify(asked)}\n`);
      await once(lines, 'line');
    },
    /** How often what came meanwhile. */
    async end(): Promise<Record<'answers' | 'refusals' | 'cuts', number>> {
      const line = once(lines, 'line');
      child.stdin.end();
      return JSON.parse(String(await line));
    },
  };
}

/** One swap there or back, and the status. */
async function swapAndStatus(client: Client, turn: number): Promise<void> {
  await done(client, 'slot.swap', { slot: 'work', persona: turn % 2 === 0 ? 'b' : 'a' });
  await client.call('daemon.status', {});
}

function lateOrThrow(error: PersonaError): false {
  if (error.code !== 'timed-out') throw error;
  return false;
}

when(test, needs)('while twenty homes hang, root swaps and asks for the status', async (t) => {
  t.timeout(testMs);
  const client = await place.daemon.client();
  const { told, all } = startCrowd(t, hung, 'app.import');
  // While twenty children start on a busy machine a call may be late: the last of them hang while nothing else goes on.
  let served = 0;
  for (let turn = 0; told.length < hung.count; turn += 1) {
    const before = told.length;
    const inTime = await swapAndStatus(client, turn).then(() => true, lateOrThrow);
    if (inTime && told.length === before) served += 1;
  }
  t.true(served > 0, 'each time root waited until one of them was given up');
  await all;
  for (const { uid, result } of told)
    t.regex(
      result?.problems[0]?.text ?? '',
      /could not be read/,
      `the home of ${uid} did not hang`,
    );
  t.log(`${served} times without one of them being given up meanwhile`);
});

when(test, needs)('while a thousand subordinate ids flood, none of root is refused', async (t) => {
  t.timeout(testMs);
  const client = await place.daemon.client();
  const crowd = startCrowd(t, flooding, 'daemon.ping');
  await crowd.all;
  const held = crowd.told.filter(({ cut }) => cut === undefined).length;
  t.is(held, wireLimits.connectionsPerUid, 'all of them have the places of one user');
  const [other] = await asUser(users.user, [], place.daemon.run, [['daemon.status', {}]]);
  t.is(other?.error, undefined, 'another user has places as well');
  await crowd.flood([
    ['launch.plan', { app: 'flood', dryRun: true }],
    ['app.set', { app: 'flood', set: { cpu: 'background' } }],
  ]);
  const ms: number[] = [];
  for (let turn = 0; turn < SWAPS; turn += 1) {
    const begun = performance.now();
    await swapAndStatus(client, turn);
    ms.push(Math.round(performance.now() - begun));
  }
  const came = await crowd.end();
  t.log(`beside ${JSON.stringify(came)}: a swap and the status in ${ms.join(', ')} ms`);
});
