import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { lacking, when } from '../support/needs.ts';
import { builtTar } from '../support/tar-builder.ts';
import {
  type Asked,
  asUser,
  done,
  type Given,
  group,
  type LiveDaemon,
  longScope,
  users,
} from './live-daemon.ts';
import { type Place, populated } from './place.ts';

// What a user without the group, and a member of it, can do to a running daemon (SECURITY 1, 5, 14, 31, 33).

const tool = fileURLToPath(new URL('../../ctl/main.ts', import.meta.url));
const needs = { root: true, tools: ['setpriv', 'bwrap', 'prlimit'] };
const codes = (given: readonly Given[]) => given.map(({ error }) => error?.code ?? 'ok');
const members = [group.gid];

function as(uid: number, ...command: string[]) {
  const ids = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups'];
  return spawnSync('setpriv', [...ids, ...command], { encoding: 'utf8', cwd: '/' });
}

const scope = longScope();
let place: Place;
if (lacking(needs) === undefined) {
  test.before(async () => {
    place = await populated(scope);
  });
  test.after.always(() => scope.end());
}

/** SECURITY 5: nothing of the state tree can be reached; modes are what they have to be. */
function expectClosed(t: ExecutionContext, { state, run }: LiveDaemon): void {
  const found = as(users.user, 'find', state);
  t.not(found.status, 0);
  t.is(found.stdout.trim(), state);
  t.not(as(users.owner, 'ls', state).status, 0);
  t.is(statSync(state).mode & 0o7777, 0o700);
  for (const name of readdirSync(state)) {
    const { mode, uid } = lstatSync(join(state, name));
    t.is(uid, 0, name);
    t.is(mode & 0o077, 0, `${name} has mode ${(mode & 0o7777).toString(8)}`);
  }
  t.is(statSync(run).mode & 0o7777, 0o755);
  for (const open of ['slots', 'fast', 'volumes'])
    t.is(statSync(`${run}/${open}`).mode & 0o7777, 0o711);
  t.like(statSync(`${run}/slots/work`), { uid: 0, gid: users.owner });
  t.is(statSync(`${run}/slots/work`).mode & 0o7777, 0o750);
  t.is(statSync(`${run}/volumes/.whole`).mode & 0o7777, 0o700);
  t.is(statSync(`${run}/user.sock`).mode & 0o7777, 0o666);
  t.is(statSync(`${run}/control.sock`).mode & 0o7777, 0o660);
  t.is(statSync(`${run}/control.sock`).gid, group.gid);
  // The filter of applications that run apart: nothing secret, and nothing that anybody else could change.
  t.like(lstatSync(`${run}/application.bpf`), { uid: 0, mode: 0o100444 });
  for (const name of readdirSync(run)) {
    const stat = lstatSync(join(run, name));
    const places = ['slots', 'fast', 'volumes', 'enclaves', 'settings'];
    const open = [...places, 'user.sock', 'control.sock', 'application.bpf'];
    if (open.includes(name)) continue;
    t.is(stat.mode & 0o077, 0, `run/${name} has mode ${(stat.mode & 0o7777).toString(8)}`);
  }
}

when(test, needs)('a user without the group sees its own nothing and does nothing', async (t) => {
  const { daemon, base } = place;
  expectClosed(t, daemon);
  const { run } = daemon;
  t.not(as(users.user, 'ls', `${run}/slots`).status, 0);
  t.not(as(users.user, 'ls', `${run}/slots/work`).status, 0);
  t.not(as(users.user, 'cat', `${run}/slots/work/root/etc/name`).status, 0);
  t.is(as(users.owner, 'cat', `${run}/slots/work/root/etc/name`).stdout, 'a');
  // Its files keep their owners and modes: the owner of a slot is not root in it.
  t.not(as(users.owner, 'cat', `${run}/slots/work/root/etc/shadow`).status, 0);
  t.not(as(users.owner, 'ls', `${run}/slots/work/root/root`).status, 0);
  t.not(as(users.owner, 'touch', `${run}/slots/work/root/etc/new`).status, 0);
  t.not(as(users.owner, 'mv', `${run}/slots/work/root`, `${run}/slots/work/x`).status, 0);
  const asked: Asked[] = [
    ['slot.create', { name: 'mine' }],
    ['slot.swap', { slot: 'work', persona: 'b' }],
    ['slot.exec', { slot: 'work', grants: {} }],
    ['slot.history', { slot: 'work' }],
    ['slot.rm', { slot: 'work', discard: true }],
    ['persona.export', { persona: 'a' }],
    ['persona.rm', { persona: 'b' }],
    ['persona.diff', { from: 'base', to: 'a' }],
    ['persona.verify', { persona: 'a' }],
    ['base.rm', { base: 'base' }],
    ['base.import', { name: 'x', source: { kind: 'path', path: base } }],
    ['bulk.open', { direction: 'up' }],
    ['system.gc', {}],
    ['key.trust', { publicKey: 'x' }],
    ['change.abort', { change: 1 }],
    ['change.show', { change: 1 }],
  ];
  const refused = await asUser(users.user, [], run, asked);
  t.deepEqual(codes(refused), Array(asked.length).fill('permission-denied'));
  const seen = await asUser(users.user, [], run, [
    ['daemon.status', {}],
    ['slot.list', {}],
    ['change.list', { all: true }],
    ['persona.list', {}],
    ['persona.show', { persona: 'a' }],
  ]);
  t.like(seen[0]?.result, {
    caller: { uid: users.user, access: 'any' },
    slots: [],
    changes: [],
    notices: [],
  });
  t.deepEqual([seen[1]?.result, seen[2]?.result], [{ slots: [] }, { changes: [] }]);
  t.false(JSON.stringify(seen).includes('canary-of-environment'));
});

when(test, needs)("a member does nothing to what is another's, and names no path", async (t) => {
  const { daemon, root, base } = place;
  const secret = join(root, 'secret');
  writeFileSync(secret, builtTar({ name: 'etc/name', data: 'canary-of-root' }), { mode: 0o600 });
  const path = (to: string) => ({ kind: 'path', path: to });
  const asked: Asked[] = [
    ['slot.swap', { slot: 'work', persona: 'b' }],
    ['slot.rollback', { slot: 'work', base: true }],
    ['slot.exec', { slot: 'work', grants: {} }],
    ['slot.rm', { slot: 'work', discard: true, busy: 'kill' }],
    ['slot.create', { name: 'gift', owner: users.owner }],
    ['persona.export', { persona: 'a' }],
    ['persona.rm', { persona: 'b' }],
    ['base.rm', { base: 'base' }],
    ['base.import', { name: 'x', source: path(secret) }],
    ['base.import', { name: 'x', source: path(base) }],
    ['base.import', { name: 'x', source: { kind: 'host' } }],
    ['persona.create', { name: 'x', base: 'base', tree: path(secret) }],
    ['persona.create', { name: 'x', base: 'base', diff: path(secret) }],
    ['persona.import', { source: path(secret) }],
    ['system.gc', {}],
    ['change.show', { change: 1 }],
    ['change.abort', { change: 1 }],
  ];
  const given = await asUser(users.other, members, daemon.run, asked);
  t.deepEqual(codes(given), Array(asked.length).fill('permission-denied'));
  const [page] = await asUser(users.other, members, daemon.run, [['daemon.status', {}]]);
  t.like(page?.result, { slots: [], changes: [], notices: [] });
  t.false(JSON.stringify(given).includes('canary'));
  const client = await daemon.client();
  t.like(await client.call('slot.list', {}), { slots: [{ active: { number: 1 } }] });
});

when(test, needs)('names lead nowhere', async (t) => {
  const { daemon } = place;
  const odd = [
    '..',
    '../x',
    'a/b',
    '/etc',
    'a\0b',
    'A',
    '',
    'x'.repeat(64),
    'a..b',
    '.a',
    'ä',
    'a\n',
  ];
  const asked: Asked[] = [];
  for (const name of odd) {
    asked.push(['slot.create', { name }], ['slot.swap', { slot: name, persona: 'a' }]);
    asked.push(
      ['slot.swap', { slot: 'work', persona: name }],
      ['slot.exec', { slot: name, grants: {} }],
    );
    asked.push(['base.import', { name, source: { kind: 'upload', ticket: 'abcdefgh' } }]);
    asked.push([
      'persona.create',
      { name, base: 'base', tree: { kind: 'upload', ticket: 'abcdefgh' } },
    ]);
    asked.push(['persona.create', { name: 'x', base: name }], ['persona.show', { persona: name }]);
  }
  asked.push(
    ['bulk.open', { direction: 'up', bytes: -1 }],
    ['slot.rollback', { slot: 'work', to: -1 }],
  );
  asked.push(['persona.import', { source: { kind: 'upload', ticket: '../../etc/passwd' } }]);
  asked.push(['slot.create', { name: 'x', __proto__: { owner: 0 }, surprise: 1 }]);
  asked.push(['base.import', { name: 'x', source: { kind: 'host', path: '/etc' } }]);
  const given = await asUser(users.owner, members, daemon.run, asked);
  t.deepEqual(codes(given), Array(asked.length).fill('bad-request'));
  t.false(existsSync(`${daemon.run}/x`));
  t.deepEqual(readdirSync(`${daemon.run}/slots`), ['work']);
});

when(test, needs)("a program in a slot has the owner's rights, a filter, and nothing else", (t) => {
  const look = [
    'cat /proc/self/status',
    'cat /proc/self/uid_map',
    'ls /proc/self/fd /run /tmp /proc/1/root/home',
    'cat /proc/1/environ /etc/shadow',
    'cat /zero /disk',
    'echo x > /proc/sys/kernel/core_pattern',
    'echo x > /etc/name',
    'cat /proc/net/unix',
    'env',
  ];
  const ids = ['--reuid', `${users.owner}`, '--regid', `${users.owner}`, '--clear-groups'];
  const command = [process.execPath, '--no-warnings', tool, 'exec', 'work', '--', '/bin/sh', '-c'];
  const { stdout, stderr, status } = spawnSync('setpriv', [...ids, ...command, look.join('; ')], {
    encoding: 'utf8',
    cwd: '/',
    env: {
      PATH: process.env.PATH,
      PERSONA_ROOT: place.root,
      LD_PRELOAD: '/tmp/evil.so',
      BASH_ENV: '/tmp/evil',
      CANARY: 'canary-of-caller',
      SSH_AUTH_SOCK: '/tmp/agent',
    },
  });
  t.is(status, 0, stderr);
  t.regex(stdout, /^Seccomp:\s+2$/m);
  t.regex(stdout, /^NoNewPrivs:\s+1$/m);
  t.regex(stdout, /^CapEff:\s+0+$/m);
  t.regex(stdout, /^CapBnd:\s+0+$/m);
  t.regex(stdout, new RegExp(`^\\s*${users.owner}\\s+\\d+\\s+1$`, 'm'));
  t.regex(stdout, /^WORD=canary-of-environment$/m);
  for (const word of ['canary-of-caller', 'canary-of-shadow', 'evil', 'agent', '/run/persona'])
    t.false(stdout.includes(word), word);
  t.regex(stderr, /core_pattern/);
  t.regex(stderr, /\/etc\/name/);
});

when(test, needs)("a member's tree is read with the member's rights and groups", async (t) => {
  const { root, daemon } = place;
  const tree = join(root, 'theirs');
  mkdirSync(join(tree, 'etc'), { recursive: true });
  chmodSync(tree, 0o755);
  chmodSync(join(tree, 'etc'), 0o755);
  writeFileSync(join(tree, 'etc/name'), 'theirs', { mode: 0o644 });
  writeFileSync(join(tree, 'etc/group-file'), 'canary-of-group', { mode: 0o640 });
  chownSync(join(tree, 'etc/group-file'), 0, group.gid);
  const create = (name: string) => {
    const ids = [
      '--reuid',
      `${users.other}`,
      '--regid',
      `${users.other}`,
      '--groups',
      `${group.gid}`,
    ];
    const words = ['persona', 'create', name, '--base', 'base', '--from-tree', tree];
    const output = ['--output', join(root, 'theirs-output', `${name}.osp`)];
    return spawnSync(
      'setpriv',
      [...ids, process.execPath, '--no-warnings', tool, ...words, ...output],
      { encoding: 'utf8', cwd: '/', env: { PATH: process.env.PATH, PERSONA_ROOT: root } },
    );
  };
  mkdirSync(join(root, 'theirs-output'));
  chownSync(join(root, 'theirs-output'), users.other, users.other);
  const read = create('by-group');
  t.is(read.status, 0, read.stderr);
  writeFileSync(join(tree, 'etc/private'), 'canary-of-root', { mode: 0o600 });
  const refused = create('by-nobody');
  t.not(refused.status, 0);
  t.regex(refused.stderr, /private.*Permission denied|Permission denied.*private/s);
  const client = await daemon.client();
  // The half upload is dropped when its end cannot be answered.
  while (readdirSync(`${daemon.state}/staging`).length > 0) await client.call('daemon.ping', {});
  const { personas } = await client.call('persona.list', {});
  t.deepEqual(personas.map(({ name }) => name).sort(), ['a', 'b', 'by-group']);
  t.is(readdirSync(join(root, 'theirs-output')).length, 1);
});

when(test, needs)('what an upload holds is never looked for on the host', async (t) => {
  const { daemon, root } = place;
  const link = (name: string, linkName: string) => ({ name, type: '2', linkName });
  const hostile: [string, Buffer, string][] = [
    ['dots', builtTar({ name: '../../../../tmp/escaped', data: 'x' }), 'bad-archive'],
    [
      'through a link',
      builtTar(link('d', '/tmp'), { name: 'd/escaped', data: 'x' }),
      'bad-archive bad-image',
    ],
    [
      'hard link to the host',
      builtTar({ name: 'h', type: '1', linkName: '/etc/shadow' }),
      'bad-archive bad-image',
    ],
    ['a device', builtTar({ name: 'disk', type: '4', major: 8, minor: 0 }), 'permission-denied'],
    ['set-user-id', builtTar({ name: 'su', mode: 0o4755, data: 'x' }), 'permission-denied'],
  ];
  const asked = hostile.map(
    ([, bytes], at): Asked => [
      'persona.create',
      { name: `h${at}`, base: 'base', tree: { kind: 'upload', ticket: 'TICKET' }, wait: true },
      bytes.toString('base64'),
    ],
  );
  const given = await asUser(users.owner, members, daemon.run, asked);
  for (const [at, [what, , allowed]] of hostile.entries()) {
    const code = given[at]?.error?.code ?? '';
    t.true(allowed.split(' ').includes(code), `${what}: ${JSON.stringify(given[at])}`);
  }
  t.false(existsSync('/tmp/escaped'));
  t.deepEqual(readdirSync(`${daemon.state}/staging`), []);
  const [links] = await asUser(users.owner, members, daemon.run, [
    [
      'persona.create',
      { name: 'links', base: 'base', tree: { kind: 'upload', ticket: 'TICKET' }, wait: true },
      builtTar(
        { name: 'etc/', type: '5', mode: 0o755 },
        link('etc/to-shadow', '/etc/shadow'),
        link('etc/resolv.conf', '/etc/shadow'),
        link('root', '/root'),
        { name: 'proc/', type: '5', mode: 0o755 },
        { name: 'dev/', type: '5', mode: 0o755 },
      ).toString('base64'),
    ],
  ]);
  t.is(links?.error, undefined, 'links that point anywhere are only names');
  // A folder that a caller names is looked up in the tree alone: existing or not on the host is the same answer.
  mkdirSync(join(root, 'closed/there'), { recursive: true, mode: 0o700 });
  await done(await daemon.client(), 'slot.swap', { slot: 'work', persona: 'links' });
  const grants = (folder: string) => ({ slot: 'work', grants: { folders: [{ path: folder }] } });
  const probes = [
    `/../../../../../..${root}/closed/there`,
    `/../../../../../..${root}/closed/none`,
  ];
  const answers = await asUser(users.owner, members, daemon.run, [
    ...probes.map((folder): Asked => ['slot.exec', grants(folder)]),
    ['slot.exec', grants('/root/.ssh')],
  ]);
  t.deepEqual(codes(answers), Array(3).fill('bad-value'));
});
