import type { Socket } from 'node:net';
import type { Caller } from './connection.ts';
import { ticketWord } from './protocol.ts';

/** Longest first line of a raw connection, in bytes. */
const ticketLineMax = 128;
const ticketPrefix = Buffer.from(ticketWord, 'latin1');

/** Where a connection goes once its first bytes have said what it is. It is paused then. */
export interface Destinations {
  frames(socket: Socket, caller: Caller, first: Buffer): void;
  raw(socket: Socket, ticket: string, caller: Caller, rest: Buffer): void;
}

/**
 * Waits for the first bytes of a connection, `timeoutMs` at most: `TICKET t\n` begins raw data, on the
 * control socket only; anything else is frames. Returns a function that gives up.
 */
export function greet(
  socket: Socket,
  caller: Caller,
  timeoutMs: number,
  to: Destinations,
): () => void {
  let head: Buffer = Buffer.alloc(0);
  const giveUp = () => {
    over();
    socket.destroy();
  };
  const timer = setTimeout(giveUp, timeoutMs);
  const read = (chunk: Buffer) => {
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    const known = Math.min(head.length, ticketPrefix.length);
    const raw =
      caller.socket === 'control' &&
      head.subarray(0, known).equals(ticketPrefix.subarray(0, known));
    const end = raw ? head.indexOf(10) : 0;
    if (end < 0 && head.length < ticketLineMax) return;
    if (end < 0) return giveUp();
    over();
    socket.pause();
    if (!raw) return to.frames(socket, caller, head);
    to.raw(
      socket,
      head.toString('latin1', ticketPrefix.length, end),
      caller,
      head.subarray(end + 1),
    );
  };
  function over(): void {
    clearTimeout(timer);
    socket.off('data', read);
    socket.off('end', giveUp);
    socket.off('close', over);
  }
  socket.on('data', read);
  socket.on('end', giveUp);
  socket.on('close', over);
  return giveUp;
}
