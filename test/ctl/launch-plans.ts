import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { compileLauncher } from '../../scripts/launcher.ts';
import { hasTool, type Needs } from '../support/needs.ts';

/** What tests of the native launcher need. */
export const launcherNeeds: Needs = { tools: ['cc', 'sh', 'env'] };

/** A C compiler with its sanitizers. */
export const sanitizerFlags = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** Why a program cannot be built with sanitizers here. */
export function sanitizersMissing(): string | undefined {
  if (!hasTool('cc')) return 'needs cc, not installed';
  const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
  try {
    compileLauncher(join(folder, 'launcher'), sanitizerFlags);
    return undefined;
  } catch {
    return 'needs a C compiler with sanitizers';
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Answers with whatever bytes it is told to; `undefined`: with nothing, for ever. */
export interface RawDaemon {
  root: string;
  /** The requests so far, as they came in. */
  requests: string[];
  /** What the next peers get; `end` ends the connection behind it. */
  say: { pieces: readonly (string | Buffer)[]; end?: boolean } | undefined;
}

/** Listens where a daemon would, for everybody; ends with the test. */
export async function rawDaemon(t: ExecutionContext): Promise<RawDaemon> {
  const root = mkdtempSync(join(tmpdir(), 'persona-run-'));
  chmodSync(root, 0o755);
  mkdirSync(join(root, 'run'));
  const daemon: RawDaemon = { root, requests: [], say: undefined };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    let asked = '';
    socket.on('data', (chunk: Buffer) => {
      asked += chunk.toString();
      if (!asked.endsWith('\f')) return;
      daemon.requests.push(asked);
      const { pieces = [], end } = daemon.say ?? {};
      for (const piece of pieces) socket.write(piece);
      if (end) socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(join(root, 'run/user.sock'), resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(root, { recursive: true, force: true });
  });
  return daemon;
}

/** A whole plan, with what is different in it. */
export const plan = (more: object = {}): object => ({
  app: 'editor',
  profile: 'standard',
  rule: 'nothing-said',
  reason: 'none',
  placement: { state: 'none', reason: 'none' },
  argv: [],
  environment: { set: {}, unset: [] },
  notices: [],
  ...more,
});

/** The frame of an answer. */
export const frame = (data: object): string =>
  `${JSON.stringify({ type: 'reply', data: { id: 1, ...data } })}\f`;

/** What became of a launch. */
export interface Launched {
  status: number | null;
  signal: string | null;
  out: string;
  err: string;
}

/** More launches in a row that find a busy machine are not one. */
const tries = 10;

/** As `launched`, and again where a busy machine has used up the time that a launch may wait for its answer. */
export async function answered(...words: Parameters<typeof launched>): Promise<Launched> {
  for (let left = tries; ; left -= 1) {
    const result = await launched(...words);
    if (left === 0 || !/in time/.test(result.err)) return result;
  }
}

/** Runs a program to its end. */
export function launched(
  file: string,
  args: readonly string[],
  env: Record<string, string>,
  cwd = '/',
): Promise<Launched> {
  const child = spawn(file, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk) => {
    said.out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    said.err += String(chunk);
  });
  return new Promise((resolve, reject) =>
    child.once('error', reject).once('close', (status, signal) => {
      resolve({ status, signal, ...said });
    }),
  );
}
