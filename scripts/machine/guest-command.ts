/** Commands in the guest: with a deadline, and with an end to what they may write. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentLink } from './agent-link.ts';

const runMs = 60_000;
/** How long after the deadline the guest may take to say that the command is gone. */
const answerMs = 20_000;
const outputBytesMax = 16 << 20;
const killed = 9;

/** A line for a shell, or a list of arguments that no shell sees. */
export type Command = string | readonly string[];

export interface RunOptions {
  /** 60 s unless said; then the command is killed and the call fails. */
  deadlineMs?: number;
  /** Its standard input; empty unless said. */
  stdin?: string | Buffer;
  /** As this user of the guest, with all of the user's groups; root unless said. */
  user?: string;
  /** Hears output as it comes: what came before a power cut counts. */
  onOutput?: (stream: 'out' | 'err', bytes: Buffer) => void;
}

export interface RunResult {
  /** Exit status; 128 and the number for a signal. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Hears output; false ends the command, which then failed by writing too much. */
export type Take = (stream: 'out' | 'err', bytes: Buffer) => boolean;

/** Runs a command to its end and returns what it wrote. */
export async function collect(
  link: AgentLink,
  command: Command,
  options: RunOptions,
): Promise<RunResult> {
  const parts: Record<'out' | 'err', Buffer[]> = { out: [], err: [] };
  let bytes = 0;
  const status = await stream(link, command, options, (name, data) => {
    parts[name].push(data);
    bytes += data.length;
    options.onOutput?.(name, data);
    return bytes <= outputBytesMax;
  });
  const text = (name: 'out' | 'err') => Buffer.concat(parts[name]).toString();
  return { status, stdout: text('out'), stderr: text('err') };
}

/** Runs a command to its end and hands its output on. Returns its status. */
export async function stream(
  link: AgentLink,
  command: Command,
  options: RunOptions,
  take: Take,
): Promise<number> {
  const deadlineMs = options.deadlineMs ?? runMs;
  let failure: string | undefined;
  const fail = (reason: string): void => {
    failure ??= reason;
    running.kill(killed);
  };
  const running = link.run(argvOf(command, options.user), (name, bytes) => {
    if (failure === undefined && !take(name, bytes))
      fail(`more than ${outputBytesMax} bytes of output`);
  });
  const late = setTimeout(() => fail(`not done after ${deadlineMs / 1000} s`), deadlineMs);
  try {
    if (options.stdin !== undefined) await running.write(Buffer.from(options.stdin));
    running.endInput();
    const { status } = await orSilent(running.ended, deadlineMs + answerMs);
    if (failure !== undefined) throw new Error(failure);
    return status;
  } catch (error) {
    throw new Error(`in the guest: ${command}: ${(error as Error).message}`);
  } finally {
    clearTimeout(late);
  }
}

/** What the agent is told to run. */
export function argvOf(command: Command, user?: string): string[] {
  const argv = typeof command === 'string' ? ['bash', '-c', command] : [...command];
  return user === undefined ? argv : ['runuser', '-u', user, '--', ...argv];
}

async function orSilent<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
  const stop = new AbortController();
  const silent = sleep(deadlineMs, undefined, { signal: stop.signal }).then(() => {
    throw new Error('the guest does not answer any more');
  });
  silent.catch(() => undefined);
  return Promise.race([work, silent]).finally(() => stop.abort());
}
