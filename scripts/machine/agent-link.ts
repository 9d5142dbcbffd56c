/**
 * The host's side of the agent in the guest (guest/agent has the frames): commands side by side over one socket.
 */
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';

const headerBytes = 9;
const pieceBytes = 32 * 1024;
const helloEveryMs = 500;
const bootIdChars = 36;

/** How a command in the guest ended. */
export interface Ending {
  /** Exit status; 128 and the number for a signal, as in a shell. */
  status: number;
  signal?: number;
}

/** A command that runs in the guest. */
export interface GuestCommand {
  /** Fails when the machine, or the connection to it, ends first. */
  ended: Promise<Ending>;
  /** Passes bytes to its standard input; resolves when there is room for more. */
  write(bytes: Buffer): Promise<void>;
  endInput(): void;
  /** Sends a signal to its process group. */
  kill(signal: number): void;
}

export interface AgentLink {
  /** The boot id of the guest's kernel. */
  bootId: string;
  run(argv: readonly string[], take: (stream: 'out' | 'err', bytes: Buffer) => void): GuestCommand;
  /** Ends the connection; the guest kills what still runs. */
  close(): void;
}

interface Waiting {
  take: (stream: 'out' | 'err', bytes: Buffer) => void;
  resolve: (ending: Ending) => void;
  reject: (error: Error) => void;
}

/**
 * Connects to the agent behind the socket `path`, and waits until it answers. Throws when it does not within
 * `deadlineMs`, or when the machine ends first.
 */
export async function connectAgent(path: string, deadlineMs: number): Promise<AgentLink> {
  const socket = connect(path);
  // What follows an error is the end of the connection, which is dealt with.
  socket.on('error', () => undefined);
  const word = randomUUID();
  const hello = () => sendFrame(socket, 'H', 0, Buffer.from(word));
  const repeated = setInterval(hello, helloEveryMs);
  const late = setTimeout(() => socket.destroy(), deadlineMs);
  try {
    hello();
    const { bootId, rest } = await answerTo(socket, word);
    return openLink(socket, bootId, rest);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearInterval(repeated);
    clearTimeout(late);
  }
}

/** The boot id in the answer, and the bytes after it. What an earlier connection left unread is passed over. */
function answerTo(socket: Socket, word: string): Promise<{ bootId: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0);
    let reason = '';
    const closed = () => reject(new Error(`the agent in the guest does not answer${reason}`));
    socket.once('error', (error) => {
      reason = `: ${error.message}`;
    });
    const read = (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes]);
      const at = seen.indexOf(`${word} `);
      const end = at + word.length + 1 + bootIdChars;
      if (at < 0 || seen.length < end) return;
      socket.off('data', read).off('close', closed);
      const bootId = seen.subarray(end - bootIdChars, end).toString();
      resolve({ bootId, rest: seen.subarray(end) });
    };
    socket.on('data', read).once('close', closed);
  });
}

function openLink(socket: Socket, bootId: string, first: Buffer): AgentLink {
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  readFrames(socket, first, (type, id, payload) => {
    const command = waiting.get(id);
    if (command === undefined) return;
    if (type === 'O' || type === 'S') return command.take(type === 'O' ? 'out' : 'err', payload);
    waiting.delete(id);
    const [how, number] = payload.toString().split(' ');
    const value = Number(number);
    command.resolve(how === 'signal' ? { status: 128 + value, signal: value } : { status: value });
  });
  socket.once('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('the machine went away'));
    waiting.clear();
  });
  return {
    bootId,
    close: () => socket.destroy(),
    run(argv, take) {
      lastId += 1;
      const id = lastId;
      const ended = new Promise<Ending>((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('the machine is not connected'));
        waiting.set(id, { take, resolve, reject });
        sendFrame(socket, 'R', id, Buffer.from(argv.join('\0')));
      });
      // Whoever waits for the end hears of a failure; nobody else has to.
      ended.catch(() => undefined);
      return {
        ended,
        write: (bytes) => sendPieces(socket, id, bytes),
        endInput: () => sendFrame(socket, 'E', id, Buffer.alloc(0)),
        kill: (signal) => sendFrame(socket, 'K', id, Buffer.from(String(signal))),
      };
    },
  };
}

function readFrames(
  socket: Socket,
  first: Buffer,
  take: (type: string, id: number, payload: Buffer) => void,
): void {
  let held = first;
  const read = (bytes: Buffer) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    while (held.length >= headerBytes) {
      const end = headerBytes + held.readUInt32BE(5);
      if (held.length < end) return;
      take(held.toString('latin1', 0, 1), held.readUInt32BE(1), held.subarray(headerBytes, end));
      held = held.subarray(end);
    }
  };
  read(Buffer.alloc(0));
  socket.on('data', read);
}

function sendFrame(socket: Socket, type: string, id: number, payload: Buffer): boolean {
  if (socket.destroyed) return true;
  const header = Buffer.alloc(headerBytes);
  header.write(type, 0, 'latin1');
  header.writeUInt32BE(id, 1);
  header.writeUInt32BE(payload.length, 5);
  return socket.write(Buffer.concat([header, payload]));
}

async function sendPieces(socket: Socket, id: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    if (sendFrame(socket, 'I', id, bytes.subarray(at, at + pieceBytes))) continue;
    await new Promise<void>((resolve) => {
      const on = () => {
        socket.off('drain', on).off('close', on);
        resolve();
      };
      socket.once('drain', on).once('close', on);
    });
  }
}
