import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { Request, Rooms } from '../../../daemon/api/rooms.ts';
import { removeUnclaimed } from '../../../daemon/api/tickets.ts';
import { lockedPlacesInUse } from '../../../daemon/kernel/locked-memory.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { asUser } from '../../ipc/harness.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { groupGid, outcomesOf, rootClient, startTestApi, users } from './harness.ts';
import { present } from './raw.ts';

const rooted = when(test, { root: true });

/** Rooms in which an import keeps what `request.input` gave, and an export sends `bytes`. */
function rooms(bytes: Buffer = Buffer.alloc(0)) {
  const inputs: ReturnType<Request['input']>[] = [];
  const given: Partial<Rooms> = {
    'persona.import'({ source }, request) {
      inputs.push(request.input(source));
      throw new PersonaError('not-supported', { what: 'the test' });
    },
    'persona.export': async () => ({
      bytes: bytes.length,
      digest: `sha256:${'0'.repeat(64)}`,
      fileName: 'x.osp',
      open: () => Readable.from(bytes.length === 0 ? [] : [bytes]),
    }),
  };
  return { inputs, given };
}

async function uploaded(t: ExecutionContext, run: string, data: Buffer): Promise<string> {
  const client = await rootClient(t, run);
  const { ticket } = await client.call('bulk.open', { direction: 'up', bytes: data.length });
  const raw = await present(t, run, ticket);
  t.is(await raw.line(), 'GO 0');
  raw.socket.end(data);
  t.is((await raw.all()).toString(), `GO 0\nOK ${data.length}\n`);
  return ticket;
}

rooted('an upload arrives whole, read-only, and belongs to the change that takes it', async (t) => {
  const { inputs, given } = rooms();
  const { run, staging } = await startTestApi(t, given);
  const client = await rootClient(t, run);
  const data = randomBytes(3_000_000);
  const ticket = await uploaded(t, run, data);
  const [name = ''] = readdirSync(staging);
  t.is(statSync(`${staging}/${name}`).mode & 0o777, 0o400);
  // The path of the file is journalled and shown; the ticket is not to be learned from it.
  t.false(name.includes(ticket));
  t.true(readFileSync(`${staging}/${name}`).equals(data));
  const source = { kind: 'upload' as const, ticket };
  // A dry run takes nothing.
  await t.throwsAsync(client.call('persona.import', { source, dryRun: true }), {
    code: 'not-supported',
  });
  await t.throwsAsync(client.call('persona.import', { source }), { code: 'not-supported' });
  t.like(inputs[1], { path: `${staging}/${name}`, uploaded: true, bytes: data.length });
  await t.throwsAsync(client.call('persona.import', { source }), { code: 'ticket-not-found' });
});

/** Rooms in which a creation keeps the secret it was given, and goes no further. */
function secretRooms() {
  const secrets: ReturnType<Request['secret']>[] = [];
  const given: Partial<Rooms> = {
    'enclave.create'({ secret = '' }, request) {
      secrets.push(request.secret(secret));
      throw new PersonaError('not-supported', { what: 'the test' });
    },
  };
  return { secrets, given };
}

rooted('a credential is wiped when no change takes it, and a missing one is told', async (t) => {
  const secrets: ReturnType<Request['secret']>[] = [];
  const given: Partial<Rooms> = {
    'enclave.open'({ credential = '' }, request) {
      const secret = request.credential(credential);
      t.is(secret.reveal().bytes().toString(), 'canary');
      secrets.push(secret);
      throw new PersonaError('not-supported', { what: 'the test' });
    },
  };
  const credentials = temporaryFolder(t);
  writeFileSync(join(credentials, 'key'), 'canary', { mode: 0o400 });
  const { run } = await startTestApi(t, given, { credentials });
  const client = await rootClient(t, run);
  const ask = (credential: string) => client.call('enclave.open', { enclave: 'e', credential });
  const before = lockedPlacesInUse();
  await t.throwsAsync(ask('key'), { code: 'not-supported' });
  t.is(secrets.length, 1);
  t.true(secrets.every((secret) => secret.reveal().wiped));
  t.is(lockedPlacesInUse(), before);
  await t.throwsAsync(ask('other'), { code: 'credential-unusable', message: /not given it/ });
  await t.throwsAsync(ask('../key'), { code: 'bad-request' });
});

rooted('a secret goes into locked memory, and is wiped when no change takes it', async (t) => {
  const { secrets, given } = secretRooms();
  const { run, staging } = await startTestApi(t, given);
  const client = await rootClient(t, run);
  const send = async (data: Buffer): Promise<{ ticket: string; answer: string }> => {
    const { ticket, bytesMax } = await client.call('bulk.open', { direction: 'secret' });
    t.is(bytesMax, 4096);
    const raw = await present(t, run, ticket);
    t.is(await raw.line(), 'GO 0');
    raw.socket.end(data);
    return { ticket, answer: (await raw.all()).toString() };
  };
  const before = lockedPlacesInUse();
  const { ticket, answer } = await send(Buffer.from('canary'));
  t.is(answer, 'GO 0\nOK 6\n');
  t.deepEqual(readdirSync(staging), []);
  t.is(lockedPlacesInUse(), before + 1);
  const shape = { name: 'e', bytes: 1, key: 'file' as const };
  // It is no upload, and of nobody else.
  const source = { kind: 'upload' as const, ticket };
  await t.throwsAsync(client.call('persona.import', { source }), { code: 'not-supported' });
  const stolen = await outcomesOf(users.other, [groupGid], run, [
    ['enclave.create', { ...shape, secret: ticket }],
  ]);
  t.deepEqual(stolen, ['ticket-not-found']);
  await t.throwsAsync(client.call('enclave.create', { ...shape, secret: ticket }), {
    code: 'not-supported',
  });
  t.is(secrets.length, 1);
  t.true(secrets[0]?.reveal().wiped);
  t.is(lockedPlacesInUse(), before);
  await t.throwsAsync(client.call('enclave.create', { ...shape, secret: ticket }), {
    code: 'ticket-not-found',
  });
  const more = await send(Buffer.alloc(4097));
  t.regex(more.answer, /^GO 0\nERR .*limit-exceeded/);
  t.is(lockedPlacesInUse(), before);
  t.regex((await send(Buffer.alloc(4096))).answer, /OK 4096/);
  t.is(lockedPlacesInUse(), before + 1);
});

rooted('a secret that nobody takes is wiped when its time is over', async (t) => {
  const { run } = await startTestApi(t, {}, { bulkLimits: { ticketMs: 50 } });
  const client = await rootClient(t, run);
  const before = lockedPlacesInUse();
  const { ticket } = await client.call('bulk.open', { direction: 'secret' });
  const raw = await present(t, run, ticket);
  await raw.line();
  raw.socket.end(Buffer.from('canary'));
  t.is((await raw.all()).toString(), 'GO 0\nOK 6\n');
  while (lockedPlacesInUse() > before) await new Promise((resolve) => setImmediate(resolve));
  t.pass();
});

rooted('a ticket works once, for its uid, until it expires', async (t) => {
  const { given } = rooms();
  const { run } = await startTestApi(t, given);
  const client = await rootClient(t, run);
  const data = Buffer.from('x');
  const used = await uploaded(t, run, data);
  t.regex(await (await present(t, run, used)).line(), /^ERR .*ticket-not-found/);
  t.regex(await (await present(t, run, 'ab'.repeat(16))).line(), /^ERR .*ticket-not-found/);
  // Of another uid: the same answer.
  const source = { kind: 'upload', ticket: used };
  const stolen = await outcomesOf(users.other, [groupGid], run, [['persona.import', { source }]]);
  t.deepEqual(stolen, ['ticket-not-found']);
  // It is still there for its owner.
  await t.throwsAsync(client.call('persona.import', { source: source as never }), {
    code: 'not-supported',
  });
});

rooted('a ticket of another uid opens no raw connection, and stays good for its own', async (t) => {
  const { run } = await startTestApi(t);
  const client = await rootClient(t, run);
  const { ticket } = await client.call('bulk.open', { direction: 'up', bytes: 1 });
  const thief = `${users.other}:${groupGid}` as const;
  const line = `TICKET ${ticket}\n`;
  const { text } = await asUser(thief, `${run}/control.sock`, 'send', '1', line);
  t.regex(String(text), /^ERR .*ticket-not-found/);
  t.is(await (await present(t, run, ticket)).line(), 'GO 0');
});

rooted('an expired ticket is gone, and so is an upload that nobody takes', async (t) => {
  const { given } = rooms();
  const { run, staging } = await startTestApi(t, given, {
    bulkLimits: { ticketMs: 60, unclaimedMs: 120 },
  });
  const client = await rootClient(t, run);
  const { ticket } = await client.call('bulk.open', { direction: 'up' });
  await uploaded(t, run, Buffer.from('data'));
  t.is(readdirSync(staging).length, 1);
  while (readdirSync(staging).length > 0) await client.call('daemon.ping', {});
  t.regex(await (await present(t, run, ticket)).line(), /^ERR .*ticket-not-found/);
});

for (const [title, announced, sent] of [
  ['shorter than announced', 100, 50],
  ['longer than announced', 100, 200_000],
] as const)
  rooted(`an upload ${title} is refused and leaves nothing`, async (t) => {
    const { run, staging } = await startTestApi(t);
    const client = await rootClient(t, run);
    const { ticket } = await client.call('bulk.open', { direction: 'up', bytes: announced });
    const raw = await present(t, run, ticket);
    raw.socket.end(Buffer.alloc(sent));
    t.regex((await raw.all()).toString(), /^GO 0\nERR /);
    t.deepEqual(readdirSync(staging), []);
  });

rooted('a peer that stalls or goes away in an upload leaves nothing', async (t) => {
  const { run, staging } = await startTestApi(t, {}, { bulkLimits: { stallMs: 150 } });
  const client = await rootClient(t, run);
  const stalled = await client.call('bulk.open', { direction: 'up' });
  const gone = await client.call('bulk.open', { direction: 'up', bytes: 10 });
  const first = await present(t, run, stalled.ticket);
  await first.line();
  first.socket.write('half');
  const second = await present(t, run, gone.ticket);
  await second.line();
  second.socket.destroy();
  await first.all();
  while (readdirSync(staging).length > 0) await client.call('daemon.ping', {});
  t.pass();
});

rooted('an upload larger than the limit is refused when it is announced', async (t) => {
  const { run } = await startTestApi(t, {}, { bulkLimits: { uploadBytesMax: 10 } });
  const client = await rootClient(t, run);
  await t.throwsAsync(client.call('bulk.open', { direction: 'up', bytes: 11 }), {
    code: 'limit-exceeded',
  });
});

rooted('a full disk ends an upload with an error, and leaves nothing', async (t) => {
  const { run, staging } = await startTestApi(
    t,
    {},
    {
      bulkLimits: { spaceCheckBytes: 1000 },
      space(bytes) {
        if (bytes > 0) throw new PersonaError('no-space', { needed: bytes, free: 0, path: '/' });
      },
    },
  );
  const client = await rootClient(t, run);
  const { ticket } = await client.call('bulk.open', { direction: 'up' });
  const raw = await present(t, run, ticket);
  await raw.line();
  raw.socket.end(Buffer.alloc(5000));
  t.regex((await raw.all()).toString(), /no-space/);
  t.deepEqual(readdirSync(staging), []);
});

rooted('all uploads of a user together have a limit', async (t) => {
  const { run, staging } = await startTestApi(t, {}, { bulkLimits: { stagedPerUidMax: 1000 } });
  await uploaded(t, run, Buffer.alloc(600));
  const client = await rootClient(t, run);
  const { ticket } = await client.call('bulk.open', { direction: 'up' });
  const raw = await present(t, run, ticket);
  await raw.line();
  raw.socket.end(Buffer.alloc(600));
  t.regex((await raw.all()).toString(), /limit-exceeded/);
  t.is(readdirSync(staging).length, 1);
});

rooted(
  'a start removes the uploads of a dead daemon, but not those of its open changes',
  async (t) => {
    const staging = mkdtempSync(join(tmpdir(), 'persona-staging-'));
    t.teardown(() => rmSync(staging, { recursive: true, force: true }));
    for (const name of ['upload-dead', 'upload-live', 'other'])
      writeFileSync(join(staging, name), 'x');
    const open = [{ tasks: [{ params: { path: join(staging, 'upload-live') } }] }];
    await removeUnclaimed(staging, { open: () => open } as never);
    t.deepEqual(readdirSync(staging).sort(), ['other', 'upload-live']);
  },
);

rooted('one user holds so many tickets and no more', async (t) => {
  const { run } = await startTestApi(t, {}, { bulkLimits: { perUidMax: 2 } });
  const open = ['bulk.open', { direction: 'up' }] as const;
  t.deepEqual(await outcomesOf(users.owner, [groupGid], run, [open, open, open]), [
    'ok',
    'ok',
    'too-many-requests',
  ]);
  t.deepEqual(await outcomesOf(users.other, [groupGid], run, [open]), ['ok']);
});

rooted('a download comes whole, with backpressure', async (t) => {
  const data = randomBytes(5_000_000);
  const { given } = rooms(data);
  const { run } = await startTestApi(t, given);
  const client = await rootClient(t, run);
  const { ticket, bytes } = await client.call('persona.export', { persona: 'p' });
  t.is(bytes, data.length);
  const raw = await present(t, run, ticket);
  const all = await raw.all();
  t.true(all.subarray(`OK ${bytes}\n`.length).equals(data));
  t.regex(await (await present(t, run, ticket)).line(), /^ERR .*ticket-not-found/);
});

rooted('who fetches waits for a change that has not begun to write, not for none', async (t) => {
  const outlets: ReturnType<Request['output']>[] = [];
  const { run, gatePlan, gates } = await startTestApi(
    t,
    {
      async 'system.backup'({ ticket = '' }, request) {
        outlets.push(request.output(ticket));
        return { plan: gatePlan('turn', 0) };
      },
    },
    { bulkLimits: { stallMs: 150 } },
  );
  const client = await rootClient(t, run);
  const [taken, left] = [
    await client.call('bulk.open', { direction: 'down' }),
    await client.call('bulk.open', { direction: 'down' }),
  ];
  await client.call('system.backup', { ticket: taken.ticket });
  const raw = await present(t, run, taken.ticket);
  const forNothing = await present(t, run, left.ticket);
  t.is((await forNothing.all()).toString(), 'OK -1\n');
  const before = performance.now();
  while (performance.now() - before < 400) await client.call('daemon.ping', {});
  await outlets[0]?.write(Buffer.from('all of it'));
  await outlets[0]?.end();
  t.is((await raw.all()).toString(), 'OK -1\nall of it');
  gates.get('turn').resolve();
});

rooted('a peer that does not read its download is cut off; others are served', async (t) => {
  const { given } = rooms(randomBytes(8_000_000));
  const { run } = await startTestApi(t, given, { bulkLimits: { stallMs: 150 } });
  const client = await rootClient(t, run);
  const { ticket } = await client.call('persona.export', { persona: 'p' });
  const raw = await present(t, run, ticket);
  await raw.line();
  raw.socket.pause();
  const before = performance.now();
  while (performance.now() - before < 400) await client.call('daemon.ping', {});
  raw.socket.resume();
  t.true((await raw.all()).length < 8_000_000);
});
