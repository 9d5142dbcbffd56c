import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseMountinfo } from '../../daemon/kernel/mountinfo.ts';

// One life of a container: its group, its processes, programs inside. systemd-container.ts is what tests use.

/** A second on a quiet machine. */
const bootMs = 60_000;
const leaveMs = 20_000;
const runMs = 60_000;
const pollMs = 25;

const program = fileURLToPath(new URL('./systemd-container.sh', import.meta.url));

/** How a program inside ended. */
export interface Ran {
  /** Exit status; -1 when a signal ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  deadlineMs?: number;
  input?: string;
  /** Uid and gid with these further groups; root when absent. */
  as?: { uid: number; groups?: readonly number[] };
}

/** The host's cgroup2 mount, or undefined. */
export function cgroupMount(): string | undefined {
  const lines = parseMountinfo(readFileSync('/proc/self/mountinfo', 'latin1'));
  return lines.find(({ type }) => type === 'cgroup2')?.at;
}

/** Removes an empty group with what is below it, when its processes have left. */
export async function removeGroup(folder: string): Promise<void> {
  const end = performance.now() + leaveMs;
  for (;;) {
    try {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).reverse())
        if (existsSync(join(folder, name, 'cgroup.procs'))) rmdirSync(join(folder, name));
      rmdirSync(folder);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      if (performance.now() > end) throw error;
      await pause(pollMs);
    }
  }
}

/** One life of PID 1, from boot to its end. */
export interface Life {
  pid: number;
  ended: Promise<unknown>;
}

export async function begin(folder: string, root: string, place: string): Promise<Life> {
  mkdirSync(folder);
  // The test's death ends the machine: its own, its death that of unshare, that of unshare PID 1.
  const args = ['--pdeathsig', 'KILL', '--', program, 'outside', folder, root, place];
  const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece) => {
      said = `${said}${piece}`.slice(-4_000);
    });
  const ended = once(child, 'close');
  const end = performance.now() + bootMs;
  for (;;) {
    const pid = firstChild(child.pid ?? -1);
    const name = pid === undefined ? '' : readText(`/proc/${pid}/comm`);
    if (pid !== undefined && name === 'systemd\n') return { pid, ended };
    if (child.exitCode !== null || performance.now() > end)
      throw new Error(`the container did not start: ${said}`);
    await pause(pollMs);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function firstChild(pid: number): number | undefined {
  const [first] = readText(`/proc/${pid}/task/${pid}/children`).split(' ');
  return first === undefined || first === '' ? undefined : Number(first);
}

/** Arguments of nsenter for a program inside. */
export function enter(pid: number, argv: readonly string[], as: RunOptions['as']): string[] {
  const namespaces = ['--mount', '--pid', '--ipc', '--uts', '--net', '--cgroup'];
  const clean = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8'];
  const groups = as?.groups?.length ? ['--groups', as.groups.join(',')] : ['--clear-groups'];
  const drop =
    as === undefined
      ? []
      : ['setpriv', '--reuid', `${as.uid}`, '--regid', `${as.uid}`, ...groups, '--'];
  return ['--target', `${pid}`, ...namespaces, '--wdns=/', '--', ...clean, ...drop, ...argv];
}

export async function runInside(
  pid: number,
  argv: readonly string[],
  { deadlineMs = runMs, input = '', as }: RunOptions = {},
): Promise<Ran> {
  const signal = AbortSignal.timeout(deadlineMs);
  const child = spawn('nsenter', enter(pid, argv, as), { signal, killSignal: 'SIGKILL' });
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    texts.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    texts.stderr += text;
  });
  // Who does not read its input may close it.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new Error(`${argv.join(' ')}: ${error.message}\n${texts.stderr}`)),
    );
    child.once('close', (code) => resolve(code ?? -1));
  });
  return { status, ...texts };
}

export async function untilRunning(pid: number): Promise<void> {
  const end = performance.now() + bootMs;
  let last = '';
  while (performance.now() < end) {
    last = (await runInside(pid, ['systemctl', 'is-system-running'])).stdout.trim();
    if (last === 'running') return;
    if (last === 'degraded') break;
    await pause(pollMs);
  }
  const { stdout } = await runInside(pid, ['systemctl', '--failed', '--plain', '--no-legend']);
  throw new Error(`the container did not come up: it is ${last}\n${stdout}`);
}
