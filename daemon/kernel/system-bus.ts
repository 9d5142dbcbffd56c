import { existsSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import {
  type DbusCall,
  type DbusMessage,
  DbusReader,
  DbusWriter,
  decodeMessage,
  encodeCall,
  frameOf,
  MESSAGE_BYTES_MAX,
} from './dbus-message.ts';
import { KernelError } from './errno.ts';

/** Where the system's message bus listens (D-Bus specification). */
const ADDRESS = '/run/dbus/system_bus_socket';
const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

/** The system bus can be asked. */
export const busRuns = (): boolean => existsSync(ADDRESS);

/** Which signals are heard. */
export interface DbusSignal {
  /** The name of who sends them, as everybody knows it. */
  name: string;
  path: string;
  interface: string;
  member: string;
}

interface Listener {
  signal: DbusSignal;
  heard(message: DbusMessage): void;
  /** Who has that name: what his messages come with, which nobody else can have. Nothing is heard before it is known. */
  sender?: string;
}

interface Awaited extends PromiseWithResolvers<DbusMessage> {
  /** Takes the answer before anything else that comes in is heard. */
  take?: ((answer: DbusMessage) => void) | undefined;
}

/** A connection to the system's message bus, for a few questions. Every way out of it ends by the deadline. */
export class SystemBus {
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #answers = new Map<number, Awaited>();
  readonly #listeners: Listener[] = [];
  #serial = 0;
  #read = Buffer.alloc(0);
  /** Bytes to come of a message that is passed over. */
  #passOver = 0;
  /** The bus has said that we are who we say. */
  #greeted = false;
  #failed: Error | undefined;

  /** Connects, as who this process is. @param deadlineMs for all that is asked through it */
  constructor(deadlineMs: number, address = ADDRESS) {
    this.#socket = createConnection({ path: address });
    this.#socket.on('data', (piece) => this.#take(piece));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(busError('ECONNRESET', 'it hung up')));
    this.#timer = setTimeout(() => this.#fail(busError('ETIMEDOUT')), deadlineMs);
    const uid = Buffer.from(`${process.getuid?.() ?? 0}`).toString('hex');
    // All in one: what is wrong with it is told by what comes back.
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
    this.call({ ...BUS, member: 'Hello' }).catch(() => undefined);
  }

  /** Asks, and resolves with the answer. An error that comes back is thrown with the last part of its name. */
  async call(call: DbusCall, take?: Awaited['take']): Promise<DbusMessage> {
    const answer = this.#awaited(take);
    if (this.#failed === undefined) this.#socket.write(encodeCall(this.#serial, call));
    const message = await answer;
    if (message.type !== 'error') return message;
    const said = message.signature.startsWith('s') ? new DbusReader(message.body).text() : '';
    const { error = 'an error' } = message;
    throw busError(error.slice(error.lastIndexOf('.') + 1), `${call.member}: ${said}`);
  }

  /**
   * Hears of such signals from now on: of what follows from a call that is made after this one, all. What anybody else sends to us alone comes in
   * without a rule, and is none. Nothing is waited for: the bus says who has the name before it hands over a later call.
   */
  listen(signal: DbusSignal, heard: Listener['heard']): void {
    const listener: Listener = { signal, heard };
    this.#listeners.push(listener);
    const { name, path, interface: of, member } = signal;
    const rule = `type='signal',sender='${name}',path='${path}',interface='${of}',member='${member}'`;
    const ask = (member: string, text: string, take?: Awaited['take']) => {
      const body = new DbusWriter().text(text).bytes();
      const asked = this.call({ ...BUS, member, signature: 's', body }, take);
      asked.catch((error: Error) => this.#fail(error));
    };
    ask('GetNameOwner', name, ({ body }) => {
      listener.sender = new DbusReader(body).text();
    });
    ask('AddMatch', rule);
  }

  /** Rejects when the connection fails or its time is over: for who waits for a signal. */
  failure(): Promise<never> {
    return this.#awaited() as Promise<never>;
  }

  /** What is answered to the next serial, or fails with the connection. */
  #awaited(take?: Awaited['take']): Promise<DbusMessage> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    this.#serial += 1;
    const answer = Promise.withResolvers<DbusMessage>();
    this.#answers.set(this.#serial, { ...answer, take });
    return answer.promise;
  }

  [Symbol.dispose](): void {
    this.#fail(busError('ECANCELED', 'closed'));
  }

  #fail(error: Error): void {
    if (this.#failed !== undefined) return;
    this.#failed = error;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    for (const { promise, reject } of this.#answers.values()) {
      promise.catch(() => undefined);
      reject(error);
    }
    this.#answers.clear();
  }

  #take(piece: Buffer): void {
    try {
      const passed = Math.min(this.#passOver, piece.length);
      this.#passOver -= passed;
      this.#read = Buffer.concat([this.#read, piece.subarray(passed)]);
      if (!this.#greeted && !this.#greet()) return;
      while (this.#failed === undefined && this.#next());
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Takes the next message. False when it is not all there. */
  #next(): boolean {
    const frame = frameOf(this.#read);
    if (frame === undefined) return false;
    const { bytes, isAnswer } = frame;
    const isTooLarge = bytes > MESSAGE_BYTES_MAX;
    if (!isTooLarge && this.#read.length < bytes) return false;
    const message = this.#read.subarray(0, bytes);
    this.#read = this.#read.subarray(bytes);
    if (isAnswer) this.#hear(message);
    else if (isTooLarge) this.#passOver = bytes - message.length;
    else this.#overhear(message);
    return true;
  }

  /** The line with which the bus takes us in. */
  #greet(): boolean {
    const end = this.#read.indexOf('\r\n');
    if (end < 0) {
      if (this.#read.length > 512) throw busError('EPROTO', 'no greeting');
      return false;
    }
    const line = this.#read.toString('latin1', 0, end);
    if (!line.startsWith('OK ')) throw busError('EACCES', line);
    this.#read = this.#read.subarray(end + 2);
    this.#greeted = true;
    return true;
  }

  #hear(bytes: Buffer): void {
    const { message } = decodeMessage(bytes)!;
    const { answers = 0, type } = message;
    const awaited = this.#answers.get(answers);
    this.#answers.delete(answers);
    if (type === 'return') awaited?.take?.(message);
    awaited?.resolve(message);
  }

  /** Anybody can send it: nothing in it ends the connection. */
  #overhear(bytes: Buffer): void {
    try {
      const { message } = decodeMessage(bytes)!;
      for (const one of this.#listeners) if (isFor(one, message)) one.heard(message);
    } catch {
      // It is no signal that is waited for.
    }
  }
}

const isFor = ({ signal, sender }: Listener, message: DbusMessage): boolean =>
  message.type === 'signal' &&
  sender !== undefined &&
  message.sender === sender &&
  message.path === signal.path &&
  message.interface === signal.interface &&
  message.member === signal.member;

const busError = (code: string, detail = ''): KernelError =>
  new KernelError('ask the system bus', code, detail);
