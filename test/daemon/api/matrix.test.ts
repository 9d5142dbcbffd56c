import test from 'ava';
import { methods } from '../../../ipc/methods/index.ts';
import { when } from '../../support/needs.ts';
import { groupGid, outcomesOf, startTestApi, users } from './harness.ts';

// Who may call what (SECURITY 1): every method with every kind of caller, over the real sockets. The
// things in the parameters belong to `owner`, a member of the group; `other` is a member, too; `user`
// is none; `subuid` is a subordinate id of `owner`.

type Who = keyof typeof users;
interface Row {
  params: unknown;
  allowed: readonly Who[];
}

const everybody: Who[] = ['root', 'owner', 'other', 'user', 'subuid'];
const members: Who[] = ['root', 'owner', 'other'];
const owners: Who[] = ['root', 'owner'];
const root: Who[] = ['root'];
const upload = { kind: 'upload', ticket: 'abcdefgh12345678' };
const byPath = { kind: 'path', path: '/srv/x.tar' };
const change = 1;
const row = (allowed: readonly Who[], params: unknown = {}): Row => ({ params, allowed });

/** A method without a row fails the test; `method words` are further rows of a method. */
const rows: Record<string, Row> = {
  'daemon.ping': row(everybody),
  'daemon.status': row(everybody),
  'daemon.doctor': row(everybody),
  'system.df': row(everybody),
  'system.inventory': row(everybody),
  'system.gc': row(root),
  'system.integrity': row(everybody),
  'system.scrub': row(root),
  'system.backup': row(root),
  'system.restore': row(root, { file: '/srv/x.backup' }),
  'partitions.show': row(everybody),
  'partitions.explain': row(everybody),
  'partitions.history': row(everybody),
  'partitions.policy': row(root),
  'partitions.set': row(root),
  'fast.create': row(everybody, { name: 'f', bytes: 1048576, on: 'ram' }),
  'fast.create in the volume of the system': row(root, {
    ...{ name: 'f', bytes: 2 ** 24, on: 'nvme', volume: 'system' },
  }),
  'fast.list': row(everybody),
  'fast.resize': row(owners, { name: 'f', bytes: 1048576 }),
  'fast.rm': row(owners, { name: 'f' }),
  'launch.plan': row(everybody, { app: 'org.example.App' }),
  'volume.create': row(root, { name: 'user', bytes: 2 ** 26 }),
  'volume.list': row(root),
  'volume.resize': row(root, { name: 'user', bytes: 2 ** 26 }),
  'volume.rm': row(root, { name: 'user' }),
  'change.list': row(everybody),
  'change.show': row(owners, { change }),
  'change.follow': row(owners, { change }),
  'change.abort': row(owners, { change }),
  'change.continue': row(owners, { change }),
  'bulk.open': row(members, { direction: 'up' }),
  'bulk.open for a secret': row(members, { direction: 'secret' }),
  'bulk.open of what a change writes': row(root, { direction: 'down' }),
  'base.import': row(members, { name: 'b', source: upload }),
  'base.import by path': row(root, { name: 'b', source: byPath }),
  'base.import of the host': row(root, { name: 'b', source: { kind: 'host' } }),
  'base.list': row(everybody),
  'base.show': row(everybody, { base: 'b' }),
  'base.rm': row(owners, { base: 'b' }),
  'persona.create': row(members, { name: 'p', base: 'b', tree: upload }),
  'persona.create by path': row(root, { name: 'p', base: 'b', tree: byPath }),
  'persona.create with a seed by path': row(root, {
    name: 'p',
    base: 'b',
    diff: upload,
    seed: byPath,
  }),
  'persona.create with privileged files': row(root, {
    name: 'p',
    base: 'b',
    tree: upload,
    allowPrivileged: true,
  }),
  'persona.import': row(members, { source: upload }),
  'persona.import by path': row(root, { source: byPath }),
  'persona.import with privileged files': row(root, { source: upload, allowPrivileged: true }),
  'persona.list': row(everybody),
  'persona.show': row(everybody, { persona: 'p' }),
  'persona.verify': row(members, { persona: 'p' }),
  'persona.export': row(owners, { persona: 'p' }),
  'persona.rm': row(owners, { persona: 'p' }),
  'persona.diff': row(members, { from: 'p', to: 'q' }),
  'key.list': row(everybody),
  'key.trust': row(root, { publicKey: 'x' }),
  'key.revoke': row(root, { key: 'ed25519:0123456789abcdef' }),
  'enclave.create': row(members, { name: 'e', bytes: 1, key: 'file' }),
  'enclave.create by a credential': row(root, {
    name: 'e',
    bytes: 1,
    key: 'credential',
    credential: 'c',
  }),
  'enclave.list': row(everybody),
  'enclave.show': row(owners, { enclave: 'e' }),
  'enclave.open': row(owners, { enclave: 'e' }),
  'enclave.open by a credential': row(root, { enclave: 'e', credential: 'c' }),
  'enclave.close': row(owners, { enclave: 'e' }),
  'enclave.sleep': row(root),
  'enclave.passwd': row(owners, { enclave: 'e', new: { key: 'file' } }),
  'enclave.passwd by a credential': row(root, {
    enclave: 'e',
    credential: 'c',
    new: { key: 'file' },
  }),
  'enclave.passwd to a credential': row(root, {
    enclave: 'e',
    new: { key: 'credential', credential: 'c' },
  }),
  'enclave.recovery': row(owners, { enclave: 'e' }),
  'enclave.recovery by a credential': row(root, { enclave: 'e', credential: 'c' }),
  'enclave.rm': row(owners, { enclave: 'e' }),
  'app.list': row(everybody),
  'launch.list': row(everybody),
  'launch.verify': row(everybody),
  'app.show': row(everybody, { app: 'paint' }),
  'app.explain': row(everybody, { app: 'paint' }),
  'app.import': row(everybody),
  'launch.apart': row(everybody),
  'app.sync': row(everybody),
  'app.set': row(everybody, { app: 'paint', set: { cpu: 'background' } }),
  'app.set for everybody': row(root, { app: 'paint', everybody: true, unset: ['cpu'] }),
  'slot.create': row(members, { name: 's' }),
  'slot.create for somebody else': row(root, { name: 's', owner: 5 }),
  'slot.create in the volume of the system': row(root, { name: 's', volume: 'system' }),
  'slot.list': row(everybody),
  'slot.rm': row(owners, { slot: 'work' }),
  'slot.move': row(owners, { slot: 'work', to: 'user' }),
  'slot.move to the volume of the system': row(root, { slot: 'mine', to: 'system' }),
  'slot.swap': row(owners, { slot: 'work', persona: 'p' }),
  'slot.rollback': row(owners, { slot: 'work' }),
  'slot.history': row(owners, { slot: 'work' }),
  'slot.exec': row(owners, { slot: 'work', grants: {} }),
  "slot.exec in the user's own slot": row(['root', 'user'], { slot: 'mine', grants: {} }),
  "slot.swap of the user's own slot": row(root, { slot: 'mine', persona: 'p' }),
};

test('every method has a row, and every row a method', (t) => {
  const named = new Set(Object.keys(rows).map((name) => name.split(' ')[0]));
  t.deepEqual([...named].sort(), Object.keys(methods).sort());
});

for (const who of everybody)
  when(test, { root: true })(`the access matrix holds for ${who}`, async (t) => {
    const { run, engine, gates, gatePlan } = await startTestApi(t);
    const { changeId, done } = await engine.submit(gatePlan('one', users.owner));
    t.is(changeId, change);
    // Ended, so that abort and continue say so instead of doing something.
    gates.get('one').resolve();
    await done;
    const names = Object.keys(rows);
    const requests = names.map((name) => [name.split(' ')[0] ?? '', rows[name]?.params] as const);
    const groups = who === 'owner' || who === 'other' ? [groupGid] : [];
    const outcomes = await outcomesOf(users[who], groups, run, requests);
    for (const [at, name] of names.entries()) {
      const allowed = rows[name]?.allowed.includes(who) === true;
      t.is(outcomes[at] !== 'permission-denied', allowed, `${name}: ${outcomes[at]}`);
      t.not(outcomes[at], 'bad-request', name);
      t.not(outcomes[at], 'internal', name);
    }
  });

when(test, { root: true })(
  'root has only what everybody has on the socket of everybody',
  async (t) => {
    const { run } = await startTestApi(t);
    const { connect } = await import('../../../ipc/client.ts');
    const client = await connect([`${run}/user.sock`]);
    t.teardown(() => client.close());
    await t.throwsAsync(client.call('system.gc', {}), { code: 'permission-denied' });
    t.is((await client.call('daemon.ping', {})).version, '1.2.3');
  },
);
