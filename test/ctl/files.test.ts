import { createHash, generateKeyPairSync } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { keyIdOf, keyText, parsePublicKey, rawOf } from '../../daemon/personas/public-key.ts';
import { PersonaError } from '../../ipc/errors.ts';
import type { KeyPage } from '../../ipc/methods/shapes.ts';
import { when } from '../support/needs.ts';
import { type Answerer, fakeDaemon } from './fake-daemon.ts';
import { golden } from './golden.ts';
import * as samples from './samples.ts';
import { personactl } from './tool.ts';

const digestOf = (data: Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
const content = Buffer.from('content of a persona file\n'.repeat(50_000));

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'persona-ctl-files-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Answers of a daemon that takes uploads and gives one download. */
function transfers(parts: {
  uploads: Map<string, Buffer>;
  downloads: Map<string, Buffer>;
}): Record<'bulk.open' | 'persona.export', Answerer> {
  let count = 0;
  const ticketOf = () => `ticket${String(++count).padStart(10, '0')}`;
  return {
    'bulk.open': ({ bytes }) => {
      const ticket = ticketOf();
      parts.uploads.set(ticket, Buffer.alloc(0));
      return { ticket, bytesMax: Number(bytes ?? 1e9), expiresMs: samples.nowMs };
    },
    'persona.export': () => {
      const ticket = ticketOf();
      parts.downloads.set(ticket, content);
      return { ticket, bytes: content.length, digest: digestOf(content), fileName: 'build.osp' };
    },
  };
}

async function daemonWith(t: ExecutionContext, answers: Record<string, Answerer>) {
  const shared: Record<string, Answerer> = { ...answers };
  const daemon = await fakeDaemon(t, shared);
  Object.assign(shared, transfers(daemon), answers);
  return daemon;
}

test('a file is sent, and named by its ticket', async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, 'x.osp'), content);
  const daemon = await daemonWith(t, {
    'persona.import': () => ({
      changeId: 5,
      result: { persona: samples.persona, existed: false, rebuilt: true },
    }),
  });
  const answered = await personactl(
    { root: daemon.root, cwd: folder },
    'persona',
    'import',
    'x.osp',
    '-y',
  );
  golden(t, 'persona-import', answered);
  const [ticket] = [...daemon.uploads.keys()];
  t.deepEqual(daemon.uploads.get(ticket!), content);
  t.deepEqual(daemon.calls, [
    { method: 'bulk.open', params: { direction: 'up', bytes: content.length } },
    {
      method: 'persona.import',
      params: { source: { kind: 'upload', ticket }, allowPrivileged: true, wait: true },
    },
  ]);
});

test("root's folders go by their path", async (t) => {
  const folder = folderOf(t);
  const daemon = await daemonWith(t, {
    'base.import': () => ({ changeId: 5, result: { base: samples.base, existed: false } }),
  });
  const answered = await personactl(
    { root: daemon.root, cwd: folder },
    ...['base', 'import', 'debian', '--from', '.'],
  );
  golden(t, 'base-import', answered);
  t.deepEqual(daemon.calls, [
    {
      method: 'base.import',
      params: { name: 'debian', source: { kind: 'path', path: folder }, wait: true },
    },
  ]);
});

when(test, { tools: ['tar'] })("other users' folders are packed and sent", async (t) => {
  const folder = folderOf(t);
  mkdirSync(join(folder, 'tree/etc'), { recursive: true });
  writeFileSync(join(folder, 'tree/etc/motd'), 'hello\n');
  const daemon = await daemonWith(t, {
    'base.import': () => ({ changeId: 5, result: { base: samples.base, existed: false } }),
  });
  const setting = { root: daemon.root, cwd: folder, uid: 1000 };
  const { status } = await personactl(setting, 'base', 'import', 'debian', '--from', 'tree');
  t.is(status, 0);
  t.deepEqual(daemon.calls[0]?.params, { direction: 'up' });
  const [data] = [...daemon.uploads.values()];
  t.true(data!.includes('etc/motd'));
  t.true(data!.includes('hello\n'));
});

test('create takes every input, and writes the file at the end', async (t) => {
  const folder = folderOf(t);
  for (const name of ['seed.tar', 'config.json', 'apps.txt', 'layer.tar'])
    writeFileSync(join(folder, name), name);
  const daemon = await daemonWith(t, {
    'persona.create': () => ({ changeId: 5, result: { persona: samples.persona } }),
  });
  const answered = await personactl(
    { root: daemon.root, cwd: folder },
    ...['persona', 'create', 'build', '--base', 'debian', '--diff', 'layer.tar'],
    ...['--seed', 'seed.tar', '--config', 'config.json', '--applications', 'apps.txt'],
    ...['-e', 'CC=gcc', '--env', 'X=a=b', '--description', 'for work', '-o', 'build.osp', '--json'],
  );
  t.is(answered.status, 0);
  t.deepEqual(readFileSync(join(folder, 'build.osp')), content);
  t.like(JSON.parse(answered.out), {
    apiVersion: 1,
    changeId: 5,
    file: { path: join(folder, 'build.osp'), bytes: content.length, digest: digestOf(content) },
  });
  const create = daemon.calls.find(({ method }) => method === 'persona.create');
  t.like(create?.params, { environment: { CC: 'gcc', X: 'a=b' }, description: 'for work' });
  t.deepEqual([...daemon.uploads.values()].map(String).sort(), [
    ...['apps.txt', 'config.json', 'layer.tar', 'seed.tar'],
  ]);
});

test('an export leaves the whole file or nothing', async (t) => {
  const folder = folderOf(t);
  const daemon = await daemonWith(t, {});
  const setting = { root: daemon.root, cwd: folder };
  const first = await personactl(setting, 'persona', 'export', 'build');
  t.is(first.status, 0);
  t.deepEqual(readdirSync(folder), ['build.osp']);
  t.deepEqual(readFileSync(join(folder, 'build.osp')), content);
  const again = await personactl(setting, 'persona', 'export', 'build');
  t.is(again.status, 6);
  t.regex(again.err, /build\.osp: it exists already/);
  const forced = await personactl(setting, 'persona', 'export', 'build', '--force');
  t.is(forced.status, 0);

  const damaged = await daemonWith(t, {
    'persona.export': () => {
      damaged.downloads.set('ticket0000000001', content);
      const digest = samples.digestOf('0');
      return { ticket: 'ticket0000000001', bytes: content.length, digest, fileName: 'x.osp' };
    },
  });
  const bad = await personactl({ root: damaged.root, cwd: folder }, 'persona', 'export', 'x');
  t.is(bad.status, 8);
  t.false(existsSync(join(folder, 'x.osp')));
  t.deepEqual(readdirSync(folder), ['build.osp']);
});

test('Ctrl-C leaves nothing of an export behind', async (t) => {
  const folder = folderOf(t);
  const daemon = await daemonWith(t, {});
  const heard: (() => void)[] = [];
  const interrupt = (press: () => void) => {
    heard.push(press);
    // The first waits for it, the second has begun to write.
    if (heard.length === 2) for (const one of heard) one();
  };
  const setting = { root: daemon.root, cwd: folder, interrupt };
  const { status, err } = await personactl(setting, 'persona', 'export', 'build');
  t.is(status, 130);
  t.regex(err, /cancelled/);
  t.deepEqual(readdirSync(folder), []);
});

test('an upload that is refused says why', async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, 'x.osp'), content);
  const daemon = await daemonWith(t, {
    'bulk.open': () => ({ ticket: 'unknownticket', bytesMax: 1, expiresMs: samples.nowMs }),
  });
  const refused = await personactl(
    { root: daemon.root, cwd: folder },
    'persona',
    'import',
    'x.osp',
  );
  t.is(refused.status, 4);
  t.regex(refused.err, /cannot use this ticket/);
  const full = await daemonWith(t, {
    'bulk.open': () => {
      throw new PersonaError('no-space', { needed: '2 GiB', free: '1 GiB', path: '/x' });
    },
  });
  const { status } = await personactl(
    { root: full.root, cwd: folder },
    'persona',
    'import',
    'x.osp',
  );
  t.is(status, 6);
});

test('a file that is not there, or is none, is said before anything is asked', async (t) => {
  const folder = folderOf(t);
  const daemon = await daemonWith(t, {});
  const setting = { root: daemon.root, cwd: folder };
  const missing = await personactl(setting, 'persona', 'import', 'none\x1b.osp');
  t.is(missing.status, 4);
  t.regex(missing.err, /cannot find .*none\\x1b\.osp/);
  const device = await personactl(setting, 'persona', 'import', '/dev/null');
  t.is(device.status, 2);
  t.regex(device.err, /neither a file nor a folder/);
  t.deepEqual(daemon.calls, []);
});

test('what is exported of this machine is what another one trusts', async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = rawOf(publicKey);
  const other: KeyPage = { ...samples.key, id: 'ed25519:fedcba9876543210', state: 'trusted' };
  const own: KeyPage = { ...samples.key, id: keyIdOf(raw), publicKey: keyText(raw) };
  const daemon = await daemonWith(t, {
    'key.list': () => ({ keys: [other, own] }),
    'key.trust': () => ({ changeId: 7, result: { key: own } }),
  });
  const setting = { root: daemon.root, cwd: folderOf(t) };
  const { out, status } = await personactl(setting, 'key', 'export');
  t.is(status, 0);
  t.is(out, String(publicKey.export({ type: 'spki', format: 'pem' })));
  t.deepEqual(parsePublicKey(out), raw);
  writeFileSync(join(setting.cwd, 'other.pem'), out);
  t.is((await personactl(setting, 'key', 'trust', 'other.pem')).status, 0);
  t.like(daemon.calls.at(-1)?.params, { publicKey: out.trim() });
  const named = await personactl(setting, 'key', 'export', own.id, '--json');
  t.deepEqual(JSON.parse(named.out).key, own);
  const unknown = await personactl(setting, 'key', 'export', 'ed25519:0000000000000000');
  t.is(unknown.status, 4);
  t.is((await personactl(setting, 'key', 'export', 'nonsense')).status, 2);
});
