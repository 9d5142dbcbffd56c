import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { debianRoot, lackingDebianRoot, type Suite } from '../support/debian-root.ts';

const program = fileURLToPath(new URL('./plain-debian.sh', import.meta.url));
const runMs = 120_000;

/** How a program inside ended. */
export interface Ran {
  status: number;
  /** Both streams, as they came. */
  text: string;
}

/** A Debian without systemd, network or compilers. */
export interface PlainDebian {
  /** Runs a program inside and waits for its end. */
  run(...argv: string[]): Promise<Ran>;
  /** The same; rejects unless it ends with 0. Returns what it wrote. */
  ok(...argv: string[]): Promise<string>;
  /** Starts a program inside that goes on; it ends with the machine. Resolves when it writes a line that matches. */
  start(until: RegExp, ...argv: string[]): Promise<void>;
  copyIn(from: string, to: string): void;
  write(path: string, text: string): void;
  read(path: string): string;
}

/** What `when(...)` must be given for tests with it. */
export const plainNeeds = {
  root: true,
  tools: ['mmdebstrap', 'setpriv', 'unshare', 'nsenter', 'dpkg-deb'],
  other: lackingDebianRoot,
};

/** Starts one; it is gone after the test. `size` of its disk in the words of tmpfs. */
export async function plainDebian(
  t: ExecutionContext,
  suite: Suite,
  size = '3G',
): Promise<PlainDebian> {
  return plainMachine(t, await debianRoot({ suite }), size);
}

/** The same over any root, that of this machine itself included: it is only read. */
export async function plainMachine(
  t: ExecutionContext,
  root: string,
  size: string,
): Promise<PlainDebian> {
  const place = mkdtempSync(join(tmpdir(), 'personad-plain-'));
  // The death of the test ends the machine too.
  const args = ['--pdeathsig', 'KILL', '--', program, 'outside', root, place, size];
  const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(place, { recursive: true, force: true });
  });
  const first = once(createInterface({ input: child.stdout }), 'line');
  const [line] = (await Promise.race([first, ended])) as [unknown];
  if (line !== 'ready') throw new Error('the plain Debian did not start');
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  const pid = children.split(' ')[0] ?? '';
  const inside = (path: string) => join(`/proc/${pid}/root`, path);
  const enter = (argv: string[]) =>
    ['--target', pid, '--mount', '--pid', '--ipc', '--uts', '--net', '--wdns=/', '--'].concat(
      ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8'],
      argv,
    );
  const run = async (...argv: string[]): Promise<Ran> => {
    const limit = { signal: AbortSignal.timeout(runMs), killSignal: 'SIGKILL' } as const;
    const one = spawn('nsenter', enter(argv), { stdio: ['ignore', 'pipe', 'pipe'], ...limit });
    let text = '';
    for (const stream of [one.stdout, one.stderr])
      stream.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
    const [status] = (await once(one, 'close')) as [number | null];
    return { status: status ?? -1, text };
  };
  return {
    run,
    async ok(...argv) {
      const { status, text } = await run(...argv);
      if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}:\n${text}`);
      return text;
    },
    async start(until, ...argv) {
      const one = spawn('nsenter', enter(argv), { stdio: ['ignore', 'pipe', 'inherit'] });
      const lines = createInterface({ input: one.stdout });
      const signal = AbortSignal.timeout(runMs);
      await new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error(`${argv[0]}: not ready in time`)));
        one.once('close', (code) => reject(new Error(`${argv[0]} ended with ${code}`)));
        lines.on('line', (text) => until.test(text) && resolve());
      });
    },
    copyIn: (from, to) => cpSync(from, inside(to), { recursive: true }),
    write(path, text) {
      mkdirSync(dirname(inside(path)), { recursive: true, mode: 0o755 });
      writeFileSync(inside(path), text);
    },
    read: (path) => readFileSync(inside(path), 'utf8'),
  };
}
