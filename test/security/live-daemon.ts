import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, connect, socketPaths } from '../../ipc/client.ts';
import type { WireError } from '../../ipc/errors.ts';
import type { MethodName } from '../../ipc/methods/index.ts';
import { unmountBelow } from '../support/mount-scratch.ts';

/** The daemon's program. */
export const daemonProgram = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));
const callerProgram = fileURLToPath(new URL('./caller.ts', import.meta.url));

/** What a daemon lives in: a test, or the tests of a file that share one. */
export interface Scope {
  teardown(end: () => unknown): void;
}

/** The scope of a whole file: ended by its `after` hook, the newest first. */
export function longScope(): Scope & { end(): Promise<void> } {
  const ends: (() => unknown)[] = [];
  return {
    teardown: (end) => void ends.push(end),
    async end() {
      for (const end of ends.reverse()) await end();
    },
  };
}

/** Ids that no account of the machine has. `owner` and `other` are called with the group, `user` without. */
export const users = { owner: 31_001, other: 31_002, user: 31_003, keeper: 31_004 } as const;

/** Any group of this machine stands for the group of the control socket. */
function someGroup(): { name: string; gid: number } {
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [name = '', , gid] = line.split(':');
    if (Number(gid) > 1 && Number(gid) < 1000 && /^[a-z]+$/.test(name))
      return { name, gid: Number(gid) };
  }
  throw new Error('the machine has no group');
}

/** The group of the control socket in these tests. */
export const group = someGroup();

/** A running `node daemon/main.ts` on a private tree. */
export interface LiveDaemon {
  root: string;
  state: string;
  run: string;
  child: ChildProcess;
  /** Everything it has written. */
  output(): string;
  ended: Promise<{ code: number | null; signal: string | null }>;
  /** A client of root. */
  client(): Promise<Client>;
  /** Ends it and waits: SIGTERM is a clean stop, SIGKILL a crash. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

const settings = `[daemon]
group = "${group.name}"
[space]
reserve = "1MiB"
keep_free = "1MiB"
keep_free_percent = 0
`;

/** A private tree with settings; gone after the test, with everything mounted in it. Others may pass through. */
export function privateTree(t: Scope, more = '', folder = tmpdir()): string {
  const root = mkdtempSync(join(folder, 'personad-security-'));
  chmodSync(root, 0o711);
  t.teardown(async () => {
    await unmountBelow(root);
    rmSync(root, { recursive: true, force: true });
  });
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/persona.toml'), settings + more, { mode: 0o644 });
  return root;
}

/**
 * Starts a daemon on `root` and waits until it is ready. It is killed after the test. `inherited` are
 * descriptors that it finds open as 3, 4, ...; `more` are words for Node, names for its environment, and words of a command
 * that becomes it.
 */
export async function startLive(
  t: Scope,
  root: string,
  inherited: readonly number[] = [],
  more: {
    words?: readonly string[];
    environment?: Record<string, string>;
    through?: readonly string[];
  } = {},
): Promise<LiveDaemon> {
  const { words = [], environment = {}, through = [] } = more;
  const node = [process.execPath, '--no-warnings', ...words, daemonProgram];
  const [file = '', ...args] = [...through, ...node];
  const child = spawn(file, args, {
    env: { PATH: process.env.PATH, PERSONA_ROOT: root, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', ...inherited],
  });
  let output = '';
  const ready = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece) => {
      output += String(piece);
      if (output.includes('"msg":"ready"')) ready.resolve();
    });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on('exit', (code, signal) => resolve({ code, signal })),
  );
  void ended.then(({ code }) => ready.reject(new Error(`it ended with ${code}: ${output}`)));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await ready.promise;
  const run = join(root, 'run');
  return {
    root,
    state: join(root, 'state'),
    run,
    child,
    output: () => output,
    ended,
    async client() {
      const client = await connect(socketPaths(run));
      t.teardown(() => client.close());
      return client;
    },
    async end(signal) {
      child.kill(signal);
      await ended;
    },
  };
}

/** What one call of another user gave. */
export type Given = { result?: unknown; error?: WireError };

/** One request of another user; `upload` sends these bytes (base64) first and puts the ticket in as `TICKET`. */
export type Asked = [method: MethodName, params: unknown, upload?: string];

/** Makes calls as another user, one after the other, over the socket that lets it in. */
export function asUser(
  uid: number,
  groups: readonly number[],
  run: string,
  asked: readonly Asked[],
): Promise<Given[]> {
  const args = ['--no-warnings', callerProgram, String(uid), groups.join(','), run];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(asked));
  let text = '';
  child.stdout.on('data', (piece) => {
    text += String(piece);
  });
  return new Promise((resolve, reject) =>
    child.on('close', () => {
      try {
        resolve(JSON.parse(text) as Given[]);
      } catch (error) {
        reject(error);
      }
    }),
  );
}

export { done } from '../support/done.ts';
