import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  DbusReader,
  DbusWriter,
  decodeMessage,
  encodeCall,
} from '../../../daemon/kernel/dbus-message.ts';
import { escapeUnit, unescapeUnit } from '../../../daemon/kernel/scope-unit.ts';
import { SystemBus } from '../../../daemon/kernel/system-bus.ts';

// What the service manager of a real machine answers is proven in test/service.

const call = { destination: 'a.b', path: '/a', interface: 'a.b', member: 'Ask' };

test('what is written can be read, and lies where the specification says', (t) => {
  const body = new DbusWriter()
    .text('scope')
    .properties([
      ['PIDs', { type: 'au', value: [7] }],
      ['CPUWeight', { type: 't', value: 300 }],
    ])
    .bytes();
  const encoded = encodeCall(5, { ...call, signature: 'sa(sv)', body });
  const decoded = decodeMessage(Buffer.concat([encoded, Buffer.from('more')]));
  t.is(decoded?.bytes, encoded.length);
  t.like(decoded?.message, { type: 'call', member: 'Ask', signature: 'sa(sv)' });
  t.deepEqual(decoded?.message.body, body);
  const reader = new DbusReader(body);
  t.is(reader.text(), 'scope');
  t.is(reader.u32(), body.length - 16, 'the array begins at 16, and its length is without the gap');
  reader.align(8);
  t.deepEqual(
    [reader.text(), reader.signature(), reader.u32(), reader.u32()],
    ['PIDs', 'au', 4, 7],
  );
});

test('whatever comes in is a message, not yet one, or refused', (t) => {
  const whole = encodeCall(1, {
    ...call,
    signature: 's',
    body: new DbusWriter().text('x').bytes(),
  });
  for (let end = 0; end < whole.length; end += 1)
    t.is(decodeMessage(whole.subarray(0, end)), undefined);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }),
      (all) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of all) bytes[at] = value;
        try {
          const found = decodeMessage(bytes);
          return found === undefined || found.bytes <= bytes.length;
        } catch (error) {
          return error instanceof RangeError;
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a word in the name of a unit, and back', (t) => {
  t.is(escapeUnit('org.kde.k-3b+'), 'org.kde.k\\x2d3b\\x2b');
  t.is(escapeUnit('.x'), '\\x2ex');
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii' }), (word) => {
      const escaped = escapeUnit(word);
      return /^[A-Za-z0-9:_.\\]*$/.test(escaped) && unescapeUnit(escaped) === word;
    }),
  );
});

/** A bus that says something of its own. */
async function oddBus(t: ExecutionContext, greet: (socket: Socket) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-bus-'));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    greet(socket);
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const path = join(folder, 'bus');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

test('a bus that refuses, hangs up, says nonsense or nothing fails every question', async (t) => {
  const ways: [(socket: Socket) => void, string][] = [
    [(socket) => socket.write('REJECTED EXTERNAL\r\n'), 'EACCES'],
    [(socket) => socket.end(), 'ECONNRESET'],
    [(socket) => socket.write('x'.repeat(1_000)), 'EPROTO'],
    [() => undefined, 'ETIMEDOUT'],
  ];
  for (const [greet, code] of ways) {
    const deadlineMs = code === 'ETIMEDOUT' ? 50 : 20_000;
    using bus = new SystemBus(deadlineMs, await oddBus(t, greet));
    await t.throwsAsync(bus.call(call), { code });
    await t.throwsAsync(bus.call(call), { code }, 'and so does the next');
    await t.throwsAsync(bus.failure());
  }
  using bus = new SystemBus(20_000, '/nonexistent/bus');
  await t.throwsAsync(bus.call(call), { code: 'ENOENT' });
  const nonsense = (socket: Socket) => socket.write(`OK 1\r\n${'B'.repeat(64)}`);
  using odd = new SystemBus(20_000, await oddBus(t, nonsense));
  await t.throwsAsync(odd.call(call), { instanceOf: RangeError });
});
