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
  /** As `ownerOf` says it. */
  sender: string;
  path: string;
  interface: string;
  member: string;
}

/** A connection to the system's message bus, for a few questions. Every way out of it ends by the deadline. */
export class SystemBus {
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #answers = new Map<number, PromiseWithResolvers<DbusMessage>>();
  readonly #signals: { signal: DbusSignal; heard: (message: DbusMessage) => void }[] = [];
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
  async call(call: DbusCall): Promise<DbusMessage> {
    const answer = this.#awaited();
    if (this.#failed === undefined) this.#socket.write(encodeCall(this.#serial, call));
    const message = await answer;
    if (message.type !== 'error') return message;
    const said = message.signature.startsWith('s') ? new DbusReader(message.body).text() : '';
    const { error = 'an error' } = message;
    throw busError(error.slice(error.lastIndexOf('.') + 1), `${call.member}: ${said}`);
  }

  /** Who has a name now: the name that his messages come with, which nobody else can have. */
  async ownerOf(name: string): Promise<string> {
    const body = new DbusWriter().text(name).bytes();
    const answer = await this.call({ ...BUS, member: 'GetNameOwner', signature: 's', body });
    return new DbusReader(answer.body).text();
  }

  /** Hears of such signals from now on. What anybody else sends to us alone comes in without a rule, and is none. */
  listen(signal: DbusSignal, heard: (message: DbusMessage) => void): void {
    this.#signals.push({ signal, heard });
    const { sender, path, interface: of, member } = signal;
    const rule = `type='signal',sender='${sender}',path='${path}',interface='${of}',member='${member}'`;
    const body = new DbusWriter().text(rule).bytes();
    this.call({ ...BUS, member: 'AddMatch', signature: 's', body }).catch((error: Error) =>
      this.#fail(error),
    );
  }

  /** Rejects when the connection fails or its time is over: for who waits for a signal. */
  failure(): Promise<never> {
    return this.#awaited() as Promise<never>;
  }

  /** What is answered to the next serial, or fails with the connection. */
  #awaited(): Promise<DbusMessage> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    this.#serial += 1;
    const answer = Promise.withResolvers<DbusMessage>();
    this.#answers.set(this.#serial, answer);
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
    const { answers = 0 } = message;
    this.#answers.get(answers)?.resolve(message);
    this.#answers.delete(answers);
  }

  /** Anybody can send it: nothing in it ends the connection. */
  #overhear(bytes: Buffer): void {
    try {
      const { message } = decodeMessage(bytes)!;
      for (const { signal, heard } of this.#signals) if (isSignal(message, signal)) heard(message);
    } catch {
      // It is no signal that is waited for.
    }
  }
}

const isSignal = (message: DbusMessage, signal: DbusSignal): boolean =>
  message.type === 'signal' &&
  message.sender === signal.sender &&
  message.path === signal.path &&
  message.interface === signal.interface &&
  message.member === signal.member;

const busError = (code: string, detail = ''): KernelError =>
  new KernelError('ask the system bus', code, detail);
