import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { checkEvent, checkParams, checkResult } from '../../ipc/check.ts';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import type { Method } from '../../ipc/method.ts';
import { type MethodName, methods } from '../../ipc/methods/index.ts';
import type { ChangeEvent } from '../../ipc/methods/shapes.ts';
import { delimiter } from '../../ipc/protocol.ts';

/** Answers one method; events are sent at once. `hangUp` ends the connection, as a daemon does that is killed. */
export type Answerer = (
  params: Record<string, unknown>,
  event: (event: ChangeEvent) => void,
  hangUp: () => void,
) => unknown;

/** A daemon that only speaks: it checks what it is asked and answers by contract. */
export interface FakeDaemon {
  /** What PERSONA_ROOT has to be. */
  root: string;
  /** The calls so far. */
  calls: { method: string; params: unknown }[];
  /** Data that was uploaded, by ticket. */
  uploads: Map<string, Buffer>;
  /** Data to download, by ticket. */
  downloads: Map<string, Buffer>;
}

interface Parts extends FakeDaemon {
  answers: Partial<Record<MethodName, Answerer>>;
}

async function answer(socket: Socket, text: string, { answers, calls }: Parts): Promise<void> {
  const { type, data } = JSON.parse(text) as {
    type: MethodName;
    data: { id: number; params: Record<string, unknown> };
  };
  const { id, params } = data;
  const send = (kind: string, what: object) =>
    socket.write(JSON.stringify({ type: kind, data: { id, ...what } }) + delimiter);
  calls.push({ method: type, params });
  try {
    const method = methods[type] as Method;
    checkParams(method, params);
    const answerer = answers[type];
    if (answerer === undefined) throw new PersonaError('unknown-method', { method: type });
    const result = await answerer(
      params,
      (event) => send('event', { event: checkEvent(event) }),
      () => socket.end(),
    );
    send('reply', { result: checkResult(type, method, result) });
  } catch (error) {
    send('reply', { error: toWire(error) });
  }
}

function raw(socket: Socket, head: Buffer, { uploads, downloads }: Parts): void {
  const end = head.indexOf(10);
  const ticket = head.toString('latin1', 'TICKET '.length, end);
  const data = downloads.get(ticket);
  if (data) return void socket.end(Buffer.concat([Buffer.from(`OK ${data.length}\n`), data]));
  if (!uploads.has(ticket)) {
    const error = toWire(new PersonaError('ticket-not-found'));
    return void socket.end(`ERR ${JSON.stringify(error)}\n`);
  }
  const chunks = [head.subarray(end + 1)];
  socket.write('GO 0\n');
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => {
    const all = Buffer.concat(chunks);
    uploads.set(ticket, all);
    socket.end(`OK ${all.length}\n`);
  });
}

function serve(socket: Socket, parts: Parts): void {
  let text = '';
  let first = true;
  socket.on('error', () => socket.destroy());
  const read = (chunk: Buffer) => {
    if (first && chunk.toString('latin1').startsWith('TICKET ')) {
      socket.off('data', read);
      return raw(socket, chunk, parts);
    }
    first = false;
    text += chunk.toString('utf8');
    const frames = text.split(delimiter);
    text = frames.pop() ?? '';
    for (const frame of frames) void answer(socket, frame, parts);
  };
  socket.on('data', read);
}

/** Starts the fake; it ends with the test. */
export async function fakeDaemon(
  t: ExecutionContext,
  answers: Partial<Record<MethodName, Answerer>>,
): Promise<FakeDaemon> {
  const root = mkdtempSync(join(tmpdir(), 'persona-ctl-'));
  mkdirSync(join(root, 'run'));
  const parts: Parts = { root, calls: [], uploads: new Map(), downloads: new Map(), answers };
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, parts);
  });
  await new Promise<void>((resolve) => server.listen(join(root, 'run/control.sock'), resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(root, { recursive: true, force: true });
  });
  return parts;
}
