import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { moveProcess } from '../../../daemon/kernel/cgroups.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import { writeXattr } from '../../../daemon/kernel/xattrs.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { privateTree, startLive, users } from '../../security/live-daemon.ts';
import { apartGround, apartNeeds, becoming } from '../../support/apart.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { placed, sideGroup, until } from './side-group.ts';

// The kernel is asked whether what really runs is as its profile says.

const unmanaged = () =>
  managerRuns()
    ? 'needs a machine without systemd'
    : (memoryNeeds.other?.() ?? apartNeeds.other?.());
const live = when(test, { ...apartNeeds, other: unmanaged });
const me = users.owner;

const waiting = (t: ExecutionContext, words: readonly string[], env: Record<string, string>) => {
  const [file = '', ...args] = words;
  const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const end = async () => {
    child.stdin.end();
    await ended;
  };
  return { child, end };
};

/** Once it has said that it runs. */
const begun = (child: ChildProcess) => once(createInterface({ input: child.stdout! }), 'line');

const script = ['sh', '-c', 'cd /; echo begun; read line; true'];

/** A daemon that makes groups, and a user who may have programs run apart. */
async function groundOf(t: ExecutionContext, name: string) {
  const { side, at } = sideGroup(t, name);
  const ground = await apartGround(t, privateTree(t, `[partitions]\nuser = "${side}"\n`));
  await ground.enclave('vault');
  const env = { PERSONA_ROOT: ground.daemon.root, PATH: '/usr/bin:/bin' };
  const begin = async (program: readonly string[], ...more: string[]) => {
    const words = [...becoming(me), ground.launcher, ...more, '--', ...program];
    const ends = new Map<ChildProcess, () => Promise<void>>();
    const launch = () => {
      const { child, end } = waiting(t, words, env);
      ends.set(child, end);
      return child;
    };
    const { child, group } = await placed(at, launch, async (one) => ends.get(one)?.());
    const end = async () => ends.get(child)?.();
    return { child, group, end };
  };
  return { at, ground, env, begin, start: (...more: string[]) => begin(script, ...more) };
}

live('a program outside of its group and a stranger behind the walls are found', async (t) => {
  const { at, ground, env, start } = await groundOf(t, 'verify');
  const verify = async (uid: number, app: string) => {
    const { result } = await ground.ask(uid, 'launch.verify', { app });
    const [one] = (result as Answer<'launch.verify'>).applications;
    const checks = Object.fromEntries(one?.checks.map(({ name, state }) => [name, state]) ?? []);
    return one && { holds: one.holds, ...checks };
  };
  const editor = await start('editor');
  const keys = await start('--profile', 'secure', 'keys');
  const well = { holds: true, group: 'holds', weights: 'holds' };
  await until(async () => (await verify(me, 'editor')) !== undefined);
  t.deepEqual(await verify(me, 'editor'), well);
  t.deepEqual(await verify(me, 'keys'), { ...well, walls: 'holds' });
  t.deepEqual(await verify(0, 'keys'), { ...well, walls: 'holds' });
  t.is(await verify(users.user, 'keys'), undefined, 'it is none of his');
  // A program of the same user that is in the group of what is kept apart, and is not kept apart.
  const { child: stranger, end } = waiting(t, [...becoming(me), ...script], { PATH: env.PATH });
  await begun(stranger);
  await moveProcess(keys.group, stranger.pid ?? 0);
  t.deepEqual(await verify(me, 'keys'), { ...well, holds: false, walls: 'fails' });
  // A group in which nobody is left is no application's any more: somebody stays.
  await moveProcess(editor.group, stranger.pid ?? 0);
  t.deepEqual(await verify(me, 'keys'), { ...well, walls: 'holds' });
  await moveProcess(at, editor.child.pid ?? 0);
  t.deepEqual(await verify(me, 'editor'), { ...well, holds: false, group: 'fails' });
  await end();
  for (const one of [editor, keys]) await one.end();
});

live('a program that another user can change is found', async (t) => {
  const { ground, begin } = await groundOf(t, 'program');
  const file = join(ground.daemon.root, 'machine/usr/bin/keeps');
  mkdirSync(dirname(file), { recursive: true });
  const install = () => {
    copyFileSync('/bin/sh', `${file}.new`);
    chmodSync(`${file}.new`, 0o755);
    renameSync(`${file}.new`, file);
  };
  install();
  const set = { executables: ['/usr/bin/keeps'] };
  await ground.ask(0, 'app.set', { app: 'keeps', everybody: true, set, wait: true });
  // A launch does not wait for what was not read yet.
  await ground.ask(me, 'app.show', { app: 'keeps' });
  const keeps = await begin([file, ...script.slice(1)], 'keeps');
  const program = async () => {
    const { result } = await ground.ask(me, 'launch.verify', { app: 'keeps' });
    const [one] = (result as Answer<'launch.verify'>).applications;
    return one?.checks.find(({ name }) => name === 'program');
  };
  await until(async () => (await program()) !== undefined);
  t.like(await program(), {
    state: 'holds',
    detail: '/usr/bin/keeps, which root alone can change',
  });
  chmodSync(file, 0o777);
  t.regex((await program())?.detail ?? '', /^process \d+ runs .* more than root \(mode 777\) can/);
  install();
  t.like(await program(), { state: 'unknown' });
  await keeps.end();
});

live('what runs apart is that for the next daemon as well', async (t) => {
  const { ground, start } = await groundOf(t, 'again');
  const keys = await start('--profile', 'secure', 'keys');
  const list = async () => {
    const { result } = await ground.ask(me, 'launch.list', {});
    const { applications } = result as Answer<'launch.list'>;
    return applications.map(({ app, profile }) => [app, profile]);
  };
  const apart = [['keys', 'secure']];
  await until(async () => (await list()).length === 1);
  t.deepEqual(await list(), apart);
  await ground.daemon.end('SIGKILL');
  // Not every kernel keeps what is written at a group.
  writeXattr(keys.group, 'trusted.personad.start', '');
  await startLive(t, ground.daemon.root);
  t.deepEqual(await list(), apart);
  const { result } = await ground.ask(me, 'launch.verify', { app: 'keys' });
  const [one] = (result as Answer<'launch.verify'>).applications;
  t.is(one?.checks.find(({ name }) => name === 'walls')?.state, 'holds');
  const told = (await ground.ask(me, 'daemon.status', {})).result as Answer<'daemon.status'>;
  const shown = told.running?.applications.find(({ app }) => app === 'keys');
  t.is(shown?.partition, 'enclave vault');
  await keys.end();
});
