import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Caller } from '../../ipc/connection.ts';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import { LockedBytes, lockedBytesMax } from '../kernel/locked-memory.ts';
import type { BulkLimits, Download, TicketParts, Tickets } from './tickets.ts';

/** What the raw connections need. */
export interface BulkParts extends Pick<TicketParts, 'space'> {
  tickets: Tickets;
  limits: BulkLimits;
  report(what: string, facts: Record<string, unknown>): void;
}

/** The line that answers a raw connection before (download) or after (upload) the data. */
const line = (word: 'OK' | 'GO' | 'ERR', value: unknown) => `${word} ${JSON.stringify(value)}\n`;

/**
 * Serves one raw connection. Upload, secrets too: `GO 0`, the bytes, the end of the peer's side, `OK n`. Download:
 * `OK n` and n bytes, or `OK -1` and as many as come: whether they are all says the change that wrote them. In both `ERR {error}` instead. Nothing moves faster than the slower side.
 */
export async function serveBulk(
  socket: Socket,
  name: string,
  caller: Caller,
  rest: Buffer,
  parts: BulkParts,
): Promise<void> {
  let awaited: Download['awaited'];
  socket.setTimeout(parts.limits.stallMs);
  socket.on('timeout', () => awaited?.() !== true && socket.destroy());
  try {
    const { download, announced, secret } = parts.tickets.begin(name, caller.uid);
    awaited = download?.awaited;
    if (secret !== undefined) await receiveSecret(socket, name, rest, parts);
    else if (download === undefined)
      await receive(socket, name, caller.uid, rest, announced, parts);
    else await give(socket, name, download, parts);
  } catch (error) {
    const wire = toWire(sayable(error));
    if (wire.code === 'internal' && !socket.destroyed)
      parts.report('a transfer failed', { error, uid: caller.uid });
    if (socket.writable) socket.end(line('ERR', wire));
    socket.resume();
  }
}

/** A disk that fills up between two looks at it is no fault of ours. */
function sayable(error: unknown): unknown {
  if (!failedWith(error, 'ENOSPC', 'EDQUOT')) return error;
  const facts = { needed: 'more', free: 'too little', path: 'the state tree' };
  return new PersonaError('no-space', facts, { cause: error });
}

async function receive(
  socket: Socket,
  name: string,
  uid: number,
  rest: Buffer,
  announced: number | undefined,
  { tickets, limits, space }: BulkParts,
): Promise<void> {
  let complete = false;
  try {
    const file = await tickets.stage(name);
    const most = announced ?? limits.uploadBytesMax;
    let nextCheck = limits.spaceCheckBytes;
    const take = async (chunk: Buffer) => {
      if (file.bytes() + chunk.length > most)
        throw new PersonaError('limit-exceeded', { what: 'the upload', limit: most });
      if (tickets.staged(uid) + chunk.length > limits.stagedPerUidMax)
        throw new PersonaError('limit-exceeded', {
          what: 'all uploads of this user',
          limit: limits.stagedPerUidMax,
        });
      await file.write(chunk);
      if (file.bytes() < nextCheck) return;
      nextCheck = file.bytes() + limits.spaceCheckBytes;
      await space(limits.spaceCheckBytes);
      // Gigabytes at the end would last longer than a peer waits for our answer.
      await file.flush();
    };
    socket.write(line('GO', 0));
    await take(rest);
    // Leaving the loop by a throw must not destroy the socket: the error is still to be said.
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      await take(chunk);
    if (announced !== undefined && file.bytes() !== announced) {
      const reason = `${file.bytes()} of ${announced} bytes came`;
      throw new PersonaError('bad-value', { name: 'the upload', reason });
    }
    await file.finish();
    tickets.uploaded(name);
    complete = true;
    // Who went away in the middle looks like one who has ended, but hears no answer, and will not use it.
    socket.once('error', () => void tickets.drop(name));
    socket.end(line('OK', file.bytes()));
  } finally {
    if (!complete) await tickets.drop(name);
  }
}

/** As `receive`, into locked memory: nothing of it is written anywhere, and what it came in is wiped. */
async function receiveSecret(
  socket: Socket,
  name: string,
  rest: Buffer,
  { tickets }: BulkParts,
): Promise<void> {
  let complete = false;
  const gathered = new LockedBytes(lockedBytesMax);
  let length = 0;
  const take = (chunk: Buffer) => {
    try {
      if (length + chunk.length > lockedBytesMax)
        throw new PersonaError('limit-exceeded', { what: 'a secret', limit: lockedBytesMax });
      gathered.bytes().set(chunk, length);
      length += chunk.length;
    } finally {
      chunk.fill(0);
    }
  };
  try {
    socket.write(line('GO', 0));
    take(rest);
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      take(chunk);
    tickets.keepSecret(name, gathered.bytes().subarray(0, length));
    complete = true;
    socket.once('error', () => void tickets.drop(name));
    socket.end(line('OK', length));
  } finally {
    gathered.wipe();
    if (!complete) await tickets.drop(name);
  }
}

async function give(
  socket: Socket,
  name: string,
  download: Download,
  { tickets }: BulkParts,
): Promise<void> {
  try {
    const source = await download.open();
    socket.resume();
    socket.write(line('OK', download.bytes ?? -1));
    await pipeline(source instanceof Readable ? source : Readable.from(source), socket);
  } finally {
    await tickets.drop(name);
  }
}
