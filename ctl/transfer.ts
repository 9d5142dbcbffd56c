import { createConnection, type Socket } from 'node:net';
import { fromWire, PersonaError } from '../ipc/errors.ts';
import { ticketWord } from '../ipc/protocol.ts';

/** Longest wait without a byte in either direction. */
const stallMs = 120_000;
/** Longest line that the daemon may answer. */
const lineBytesMax = 64 * 1024;

/** What is told while data moves. */
export type Moved = (bytes: number) => void;

/** Presents a ticket. The connection is paused. */
function present(socketPath: string, ticket: string): Socket {
  const socket = createConnection({ path: socketPath, allowHalfOpen: true });
  socket.setTimeout(stallMs, () =>
    socket.destroy(new PersonaError('timed-out', { what: 'the transfer' })),
  );
  socket.write(`${ticketWord}${ticket}\n`);
  return socket;
}

/**
 * Reads one line of the daemon: `GO n`, `OK n` or `ERR {error}`, which is thrown. What came after it
 * stays in the socket.
 */
function readLine(socket: Socket, word: 'GO' | 'OK'): Promise<number> {
  return new Promise((resolve, reject) => {
    let head: Buffer = Buffer.alloc(0);
    const over = () => {
      socket.off('data', read);
      socket.off('end', lost);
      socket.off('error', failed);
      socket.pause();
    };
    const failed = (error: Error) => {
      over();
      reject(error instanceof PersonaError ? error : new PersonaError('connection-lost'));
    };
    const lost = () => failed(new PersonaError('connection-lost'));
    const read = (chunk: Buffer) => {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf(10);
      if (end < 0 && head.length < lineBytesMax) return;
      over();
      const [said = '', value = ''] =
        /^(\w+) (.*)$/s.exec(head.toString('utf8', 0, end))?.slice(1) ?? [];
      if (said === 'ERR') return reject(fromWire(JSON.parse(value)));
      if (end < 0 || said !== word) return reject(new PersonaError('connection-lost'));
      if (head.length > end + 1) socket.unshift(head.subarray(end + 1));
      resolve(Number(value));
    };
    socket.on('data', read);
    socket.on('end', lost);
    socket.on('error', failed);
    socket.resume();
  });
}

/** Waits until the socket takes more, or has failed. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      socket.off('drain', over);
      socket.off('close', over);
      resolve();
    };
    socket.on('drain', over);
    socket.on('close', over);
  });
}

/** Sends data for a ticket, not faster than the daemon takes it. Throws what the daemon says. */
export async function upload(
  socketPath: string,
  ticket: string,
  data: AsyncIterable<Uint8Array>,
  moved: Moved,
): Promise<void> {
  const socket = present(socketPath, ticket);
  try {
    await readLine(socket, 'GO');
    const answer = readLine(socket, 'OK');
    // Refused in the middle: the reason is in the answer, not in a failed write.
    let refused = false;
    answer.catch(() => {
      refused = true;
    });
    let bytes = 0;
    for await (const chunk of data) {
      if (refused || socket.destroyed) break;
      bytes += chunk.length;
      if (!socket.write(chunk)) await drained(socket);
      moved(bytes);
    }
    socket.end();
    await answer;
  } finally {
    socket.destroy();
  }
}

/**
 * Fetches the data of a ticket. Throws `connection-lost` when less comes than was announced; where nothing is, the caller
 * knows from the change that writes it whether all has come.
 */
export async function* download(
  socketPath: string,
  ticket: string,
  moved: Moved,
): AsyncGenerator<Buffer> {
  const socket = present(socketPath, ticket);
  try {
    const expected = await readLine(socket, 'OK');
    // The change that writes it may wait for others before it begins; it ends by itself.
    if (expected < 0) socket.setTimeout(0);
    let bytes = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      if (bytes === 0) socket.setTimeout(stallMs);
      bytes += chunk.length;
      moved(bytes);
      yield chunk;
    }
    if (expected >= 0 && bytes !== expected) throw new PersonaError('connection-lost');
  } finally {
    socket.destroy();
  }
}
