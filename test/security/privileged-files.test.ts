import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { unmountBelow } from '../support/mount-scratch.ts';
import { when } from '../support/needs.ts';
import { asUser, done, group, privateTree, startLive, users } from './live-daemon.ts';
import { addPrivileged, changedCopy, programTree } from './trees.ts';

// SECURITY 2: what would give any user root in a persona's tree gives nothing in a slot of the daemon, after
// each way a tree comes to be shown. (test/daemon/personas/slot-walls.test.ts forces every way to mount.)

const needs = { root: true, tools: ['setpriv', 'setcap', 'mknod', 'bwrap', 'prlimit'] };

function as(uid: number, gid: number, ...command: string[]) {
  const ids = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups'];
  return spawnSync('setpriv', [...ids, ...command], { encoding: 'utf8', cwd: '/' });
}

/** Tries all of them as the owner of the slot: nobody else gets so far. */
function expectNothing(t: ExecutionContext, tree: string, uid: number, gid: number, when_: string) {
  t.is(statSync(`${tree}/suid-id`).mode & 0o7777, 0o6755, `${when_}: it is there`);
  t.is(as(uid, gid, `${tree}/suid-id`, '-u').stdout.trim(), `${uid}`, `${when_}: set-user-id`);
  t.is(as(uid, gid, `${tree}/suid-id`, '-g').stdout.trim(), `${gid}`, `${when_}: set-group-id`);
  const status = as(uid, gid, `${tree}/bin/sh`, '-c', `exec ${tree}/cap-id -u`);
  t.is(status.stdout.trim(), `${uid}`, `${when_}: capability`);
  const dumped = as(uid, gid, 'sh', '-c', `${tree}/cap-cat /proc/self/status`).stdout;
  t.regex(dumped, /^CapEff:\s+0+$/m, `${when_}: no capability is effective`);
  for (const node of ['disk', 'zero'])
    t.regex(as(uid, gid, 'head', '-c1', `${tree}/${node}`).stderr, /Permission denied/, when_);
  t.not(as(uid + 1, gid + 1, 'ls', tree).status, 0, `${when_}: another user sees nothing`);
}

when(test, needs)('privileged files give nothing in the slot of a real daemon', async (t) => {
  const root = privateTree(t);
  const base = programTree(root, 'base');
  const hostile = changedCopy(base, root, 'hostile');
  addPrivileged(hostile);
  let daemon = await startLive(t, root);
  let client = await daemon.client();
  await done(client, 'base.import', { name: 'base', source: { kind: 'path', path: base } });
  const made = { name: 'hostile', base: 'base', tree: { kind: 'path' as const, path: hostile } };
  await t.throwsAsync(done(client, 'persona.create', made), { message: /needs root's word/ });
  const { persona } = await done(client, 'persona.create', { ...made, allowPrivileged: true });
  const { privileged } = persona as unknown as { privileged: string[] };
  for (const line of [/device node \/disk/, /file capability \/cap-id/, /set-user-id .*\/suid-id/])
    t.true(
      privileged.some((one) => line.test(one)),
      `${line} is listed`,
    );
  const [created] = await asUser(users.owner, [group.gid], daemon.run, [
    ['slot.create', { name: 'work', wait: true }],
  ]);
  t.is(created?.error, undefined);
  const tree = `${daemon.run}/slots/work/root`;
  const look = (when_: string) => expectNothing(t, tree, users.owner, users.owner, when_);
  await done(client, 'slot.swap', { slot: 'work', persona: 'hostile' });
  look('after a swap');
  await done(client, 'slot.rollback', { slot: 'work', base: true });
  await done(client, 'slot.rollback', { slot: 'work', to: 1 });
  look('after a rollback');
  await daemon.end('SIGKILL');
  daemon = await startLive(t, root);
  look('after a crash');
  await daemon.end('SIGTERM');
  await unmountBelow(root);
  daemon = await startLive(t, root);
  look('after a reboot');
  client = await daemon.client();
  t.like(await client.call('slot.list', {}), { slots: [{ name: 'work', state: 'active' }] });
});
