import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Wrapping } from './env-program.ts';
import { keepForeground } from './terminal.ts';

type ExecPlan = Answer<'slot.exec'>;

/** How a program in a sandbox ended. */
export interface Ended {
  /** Status of the launcher: that of the program, or its own. */
  status: number;
  /** The sandbox stood: its namespaces were made. */
  began: boolean;
  /** The program was started, and the status is its own. */
  ran: boolean;
  /** The launcher could not even be started. */
  failure?: NodeJS.ErrnoException;
}

/** What bubblewrap tells on its status descriptor, so far. */
interface Report {
  text: string;
  pid?: number | undefined;
  status?: number | undefined;
}

function hear(report: Report, chunk: string): void {
  report.text += chunk;
  report.pid = numberIn(report.text, 'child-pid');
  report.status = numberIn(report.text, 'exit-code');
}

function numberIn(text: string, name: string): number | undefined {
  const found = new RegExp(`"${name}"\\s*:\\s*(\\d+)`).exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** The program itself: the first child of the sandbox's own first process. */
function programPid(report: Report): number | undefined {
  const first = report.pid;
  if (first === undefined) return undefined;
  try {
    if (readFileSync(`/proc/${first}/comm`, 'utf8').trim() !== 'bwrap') return first;
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8');
    return Number(children.split(' ')[0]) || undefined;
  } catch {
    return undefined;
  }
}

/** How often, and how many milliseconds apart, a program is looked for that is to get a signal. */
const looks = 40;
const lookEveryMs = 25;

/**
 * Sends a signal to the program. When there is none, it either is not there yet or has just ended (the
 * signal may have gone to the whole process group) and its status is on its way: only a sandbox that
 * stays without a program is killed.
 */
function forward(child: ChildProcess, report: Report, signal: NodeJS.Signals, left = looks): void {
  const pid = programPid(report);
  try {
    if (pid !== undefined) {
      process.kill(pid, signal);
      return;
    }
  } catch {
    // It ended between the two steps.
  }
  if (child.exitCode !== null || child.signalCode !== null) return;
  if (left > 0) setTimeout(forward, lookEveryMs, child, report, signal, left - 1).unref();
  else child.kill('SIGKILL');
}

/**
 * We stay until the program has ended: what the terminal sends goes to it by itself, what others send
 * to us is passed on. Returns a function that ends this.
 */
function standBy(child: ChildProcess, report: Report): () => void {
  const ignore = () => {};
  const term = () => forward(child, report, 'SIGTERM');
  const hangup = () => forward(child, report, 'SIGHUP');
  const handlers = [
    ['SIGINT', ignore],
    ['SIGQUIT', ignore],
    ['SIGTERM', term],
    ['SIGHUP', hangup],
  ] as const;
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}

/** Whether a plan's words start bubblewrap: at once, or behind a program that enters a namespace. */
const isBubblewrap = (argv: readonly string[]) =>
  argv.slice(0, argv.indexOf('--') + 2).some((word) => basename(word) === 'bwrap');

/** The command line: the plan's words with ours in their places. */
export function launchWords(
  argv: readonly string[],
  wrap: Wrapping,
  command: readonly string[],
  statusFd: number,
): string[] {
  const words = [...argv];
  const end = words.at(-1) === '--' ? words.length - 1 : words.length;
  if (isBubblewrap(argv)) words.splice(end, 0, '--json-status-fd', String(statusFd));
  return [...wrap.outside, ...words, ...wrap.inside, ...command];
}

/** What the launcher reads on which descriptors. */
function handedOf({ seccomp, data }: ExecPlan): Map<number, Buffer> {
  const handed = new Map(data?.map(({ fd, text }) => [fd, Buffer.from(text)]));
  if (seccomp) handed.set(seccomp.fd, Buffer.from(seccomp.program, 'base64'));
  return handed;
}

/**
 * Starts a command by a plan of the daemon and waits for its end. It shares our terminal, process
 * group and standard streams, so that job control works as for any program. Never rejects.
 */
export function runPlan(
  plan: ExecPlan,
  wrap: Wrapping,
  command: readonly string[],
  env: Record<string, string>,
): Promise<Ended> {
  const handed = handedOf(plan);
  const statusFd = Math.max(2, ...handed.keys()) + 1;
  const [file = '', ...args] = launchWords(plan.argv, wrap, command, statusFd);
  const stdio: ('inherit' | 'ignore' | 'pipe')[] = ['inherit', 'inherit', 'inherit'];
  while (stdio.length <= statusFd) stdio.push('ignore');
  for (const fd of [...handed.keys(), statusFd]) stdio[fd] = 'pipe';
  const report: Report = { text: '' };
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio, env });
    const giveBack = keepForeground();
    const rest = standBy(child, report);
    const leave = () => {
      giveBack();
      rest();
    };
    for (const [fd, bytes] of handed) {
      const pipe = child.stdio[fd] as Writable | null | undefined;
      pipe?.on('error', () => {});
      pipe?.end(bytes);
    }
    const status = child.stdio[statusFd] as Readable | null | undefined;
    status?.setEncoding('utf8').on('data', (chunk: string) => hear(report, chunk));
    status?.on('error', () => {});
    child.on('error', (failure: NodeJS.ErrnoException) => {
      leave();
      resolve({ status: 125, began: false, ran: false, failure });
    });
    child.on('close', (code, signal) => {
      leave();
      resolve({
        status: code ?? 128 + (signal === null ? 0 : constants.signals[signal]),
        began: report.pid !== undefined,
        ran: report.status !== undefined || signal !== null || !isBubblewrap(plan.argv),
      });
    });
  });
}
