import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { type Client, connect } from '../../ipc/client.ts';
import type { WireLimits } from '../../ipc/protocol.ts';

/** A server in a process of its own. */
export interface TestServer {
  folder: string;
  user: string;
  control: string;
  process: ChildProcess;
  /** What it has reported so far. */
  reports(): string;
}

/** Starts `program` with the folder and limits; it ends with the test. */
export async function startServer(
  t: ExecutionContext,
  limits: Partial<WireLimits> = {},
  program = 'server-process.ts',
): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'persona-ipc-'));
  chmodSync(folder, 0o711);
  const script = join(import.meta.dirname, program);
  const args = ['--no-warnings', script, folder, JSON.stringify(limits)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  t.teardown(async () => {
    child.stdin.end();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(folder, { recursive: true, force: true });
  });
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, 'line'), once(child, 'exit')]);
  if (first[0] !== 'ready') throw new Error(`the server did not start: ${errors}`);
  const [user, control] = [join(folder, 'user.sock'), join(folder, 'control.sock')];
  return { folder, user, control, process: child, reports: () => errors };
}

/** A peer that writes what it wants. */
export interface RawPeer {
  socket: Socket;
  /** Everything received so far. */
  text(): string;
  /** Resolves when `count` frames have come. */
  frames(count: number): Promise<Record<string, unknown>[]>;
  /** Resolves when the server has cut it off. */
  closed: Promise<void>;
}

/** Connects and reads whatever comes. */
export async function rawPeer(t: ExecutionContext, path: string): Promise<RawPeer> {
  const socket = createConnection(path);
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await Promise.race([once(socket, 'connect'), closed]);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const frames = async (count: number) => {
    while (text.split('\f').length <= count && !socket.destroyed)
      await Promise.race([once(socket, 'data'), closed]);
    const whole = text.split('\f').slice(0, -1);
    return whole.slice(0, count).map((frame) => JSON.parse(frame).data);
  };
  return { socket, text: () => text, frames, closed };
}

/** The frame of a request. */
export function frame(type: string, id: number, params: unknown = {}): string {
  return `${JSON.stringify({ type, data: { id, params } })}\f`;
}

/** A well-behaved client of the test table, without its types. */
export interface LooseClient extends Omit<Client, 'call'> {
  call(method: string, params: unknown): Promise<Record<string, unknown>>;
}

/** Connects a well-behaved client. */
export async function goodClient(t: ExecutionContext, path: string): Promise<LooseClient> {
  const client = (await connect([path])) as unknown as LooseClient;
  t.teardown(() => client.close());
  return client;
}

/** Runs the peer program as another user (`UID` or `UID:GID,GID`); answers the JSON that it prints. */
export async function asUser(
  uid: number | `${number}:${number}`,
  path: string,
  ...words: string[]
): Promise<Record<string, unknown>> {
  const script = join(import.meta.dirname, 'peer-process.ts');
  const args = ['--no-warnings', script, String(uid), path, ...words];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await once(child, 'close');
  return JSON.parse(text);
}
