import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { moveProcess, processesOf } from '../../../daemon/kernel/cgroups.ts';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { privateTree, users } from '../../security/live-daemon.ts';
import { apartGround, apartNeeds, becoming } from '../../support/apart.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { leavesOf, sideGroup, until } from './side-group.ts';

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

live('a program outside of its group and a stranger behind the walls are found', async (t) => {
  const { side, at } = sideGroup(t, 'verify');
  const ground = await apartGround(t, privateTree(t, `[partitions]\nuser = "${side}"\n`));
  await ground.enclave('vault');
  const env = { PERSONA_ROOT: ground.daemon.root, PATH: '/usr/bin:/bin' };
  const script = ['sh', '-c', 'cd /; echo begun; read line; true'];
  const start = async (...more: string[]) => {
    const words = [...becoming(me), ground.launcher, ...more, '--', ...script];
    const { child, end } = waiting(t, words, env);
    await begun(child);
    const group = await until(() =>
      leavesOf(at).find((leaf) => processesOf(leaf).includes(child.pid ?? 0)),
    );
    return { child, end, group };
  };
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
