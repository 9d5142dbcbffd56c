import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
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
import { escapeUnit, startScope, unescapeUnit } from '../../../daemon/kernel/scope-unit.ts';
import { SystemBus } from '../../../daemon/kernel/system-bus.ts';
import { when } from '../../support/needs.ts';

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

/** A message that is no call, as any program on a bus can send it. */
interface Sent {
  type: 2 | 4;
  answers?: number;
  destination?: string;
  path?: string;
  interface?: string;
  member?: string;
  /** Of the manager's JobRemoved, or of an answer. */
  body?: [signature: string, bytes: Buffer];
}

function encode(serial: number, { type, answers, body = ['', Buffer.alloc(0)], ...names }: Sent) {
  const writer = new DbusWriter().byte(0x6c).byte(type).byte(0).byte(1);
  writer.u32(body[1].length).u32(serial);
  const codes = { path: 1, interface: 2, member: 3, destination: 6 } as const;
  writer.array(8, () => {
    for (const [name, code] of Object.entries(codes)) {
      const value = names[name as keyof typeof codes];
      const as = name === 'path' ? 'o' : 's';
      if (value !== undefined) writer.align(8).byte(code).variant({ type: as, value });
    }
    if (answers !== undefined) writer.align(8).byte(5).variant({ type: 'u', value: answers });
    if (body[0] !== '') writer.align(8).byte(8).signature('g').signature(body[0]);
  });
  return Buffer.concat([writer.align(8).bytes(), body[1]]);
}

/** A program on the bus that sends whatever it likes, and hears of what is sent to it. */
class Program {
  name = '';
  #serial = 100;
  readonly #socket: Socket;
  readonly #ready: Promise<void>;
  readonly #rounds = new Map<number, () => void>();

  constructor(t: ExecutionContext, address: string, heard: (call: Heard) => void) {
    const socket = createConnection(address);
    t.teardown(() => socket.destroy());
    this.#socket = socket;
    const ready = Promise.withResolvers<void>();
    this.#ready = ready.promise;
    let read = Buffer.alloc(0);
    let greeted = false;
    socket.on('error', ready.reject);
    socket.on('data', (piece) => {
      read = Buffer.concat([read, piece]);
      if (!greeted) {
        const end = read.indexOf('\r\n');
        if (end < 0) return;
        read = read.subarray(end + 2);
        greeted = true;
      }
      for (let next = decodeMessage(read); next !== undefined; next = decodeMessage(read)) {
        const serial = read.readUInt32LE(8);
        read = read.subarray(next.bytes);
        const { type, answers, body, ...rest } = next.message;
        if (type === 'return' && answers === 1) this.name = new DbusReader(body).text();
        if (type === 'return' && answers === 2) ready.resolve();
        if (answers !== undefined) this.#rounds.get(answers)?.();
        if (type === 'call') heard({ serial, member: rest.member, sender: rest.sender ?? '' });
      }
    });
    socket.write(`\0AUTH EXTERNAL ${Buffer.from(`${process.getuid?.()}`).toString('hex')}\r\n`);
    socket.write('BEGIN\r\n');
    socket.write(encodeCall(1, { ...driver, member: 'Hello' }));
  }

  /** Takes a name, or any that nobody asks for. */
  async ready(name: string): Promise<this> {
    const body = new DbusWriter().text(name).u32(0).bytes();
    this.#socket.write(encodeCall(2, { ...driver, member: 'RequestName', signature: 'su', body }));
    await this.#ready;
    return this;
  }

  send(sent: Sent): void {
    this.#serial += 1;
    this.#socket.write(encode(this.#serial, sent));
  }

  sendRaw(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Until the bus has taken all that was sent. */
  async round(): Promise<void> {
    this.#serial += 1;
    const answer = Promise.withResolvers<void>();
    this.#rounds.set(this.#serial, answer.resolve);
    this.#socket.write(encodeCall(this.#serial, { ...driver, member: 'GetId' }));
    await answer.promise;
  }
}

interface Heard {
  serial: number;
  member: string | undefined;
  sender: string;
}

const driver = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
};
const manager = {
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
};
const job = `${manager.path}/job/7`;
const jobRemoved = (result: string): [string, Buffer] => [
  'uoss',
  new DbusWriter().u32(7).text(job).text('a.scope').text(result).bytes(),
];

/** A bus of its own, on which everybody may send signals to everybody, as on that of a machine. */
async function ownBus(t: ExecutionContext): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-bus-'));
  const config = join(folder, 'bus.conf');
  writeFileSync(
    config,
    `<busconfig><listen>unix:path=${folder}/bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_type="signal"/><allow send_requested_reply="false"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>`,
  );
  const bus = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(async () => {
    bus.kill('SIGKILL');
    if (bus.exitCode === null && bus.signalCode === null) await once(bus, 'exit');
    rmSync(folder, { recursive: true, force: true });
  });
  await once(bus.stdout, 'data');
  return `${folder}/bus`;
}

const bussed = when(test, { tools: ['dbus-daemon'] });

bussed('what others send neither steers nor ends what is asked of the manager', async (t) => {
  const address = await ownBus(t);
  const unit = { name: 'a.scope', slice: 'a.slice', description: 'a', weights: {} };
  const forger = await new Program(t, address, () => undefined).ready('a.forger');
  // It is asked, and before it answers, and before it is done, others send what they like.
  const asked = Promise.withResolvers<Heard>();
  const real = await new Program(t, address, (call) => {
    if (call.member === 'StartTransientUnit') asked.resolve(call);
  }).ready('org.freedesktop.systemd1');
  using bus = new SystemBus(20_000, address);
  let isDone = false;
  const placed = startScope(bus, unit, process.pid).finally(() => {
    isDone = true;
  });
  const { serial, sender: destination } = await asked.promise;
  const told: Sent = { type: 4, ...manager, member: 'JobRemoved', destination };
  const forge = () => {
    forger.send({ ...told, body: jobRemoved('failed') });
    forger.send({ ...told, body: jobRemoved('done') });
    forger.send(told);
    const large = new DbusWriter().text('x'.repeat(1 << 20)).bytes();
    forger.send({ ...told, member: 'Large', body: ['s', large] });
    // An answer in all but its type, to each call that was made.
    for (const answers of [1, 2, 3, 4, 5]) forger.send({ ...told, member: 'Answer', answers });
    // And one in the other byte order.
    forger.sendRaw(bigEndianSignal(destination));
  };
  forge();
  await heardAll(bus, forger);
  t.false(isDone);
  const path = new DbusWriter().text(job).bytes();
  real.send({ type: 2, answers: serial, destination, body: ['o', path] });
  await heardAll(bus, forger);
  forge();
  // The manager's own signals, but not this one.
  real.send({ ...told, path: '/elsewhere', body: jobRemoved('failed') });
  real.send({ ...told, interface: 'a.b', body: jobRemoved('failed') });
  real.send({ ...told });
  await heardAll(bus, forger);
  t.false(isDone, 'it is not in its unit before the manager says so');
  real.send({ ...told, body: jobRemoved('done') });
  t.true(await placed);
  t.is(await managerOf(bus), real.name, 'and goes on');
});

/** Waits until all was heard that was sent by then: by the bus, and by us. */
async function heardAll(bus: SystemBus, forger: Program): Promise<void> {
  await forger.round();
  await managerOf(bus);
}

/** Who has the manager's name. */
async function managerOf(bus: SystemBus): Promise<string> {
  const body = new DbusWriter().text('org.freedesktop.systemd1').bytes();
  const { body: answer } = await bus.call({
    ...driver,
    member: 'GetNameOwner',
    signature: 's',
    body,
  });
  return new DbusReader(answer).text();
}

/** A signal of a machine of the other byte order. */
function bigEndianSignal(destination: string): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const fields: Buffer[] = [];
  const all = [
    [1, 'o', manager.path],
    [2, 's', manager.interface],
    [3, 's', 'JobRemoved'],
    [6, 's', destination],
  ] as const;
  for (const [code, type, value] of all) {
    const before = Buffer.concat(fields).length;
    fields.push(Buffer.alloc((8 - (before % 8)) % 8));
    fields.push(Buffer.from([code, 1, type.charCodeAt(0), 0]), u32(value.length));
    fields.push(Buffer.from(`${value}\0`));
  }
  const array = Buffer.concat(fields);
  const end = Buffer.alloc((8 - (array.length % 8)) % 8);
  return Buffer.concat([
    Buffer.from([0x42, 4, 0, 1]),
    u32(0),
    u32(9),
    u32(array.length),
    array,
    end,
  ]);
}
