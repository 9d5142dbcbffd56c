import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Options, Subprocess } from 'execa';
import { declareInt } from './libc.ts';

/** Every program runs with these and what its caller adds; nothing of the daemon's own environment. */
export const CLEAN_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
};
/** Output of a program whose words we read: more is a fault. */
const OUTPUT_BYTES_MAX = 1 << 20;
/** Of a streaming child's standard error we keep the end. */
const STDERR_KEPT = 16 << 10;
/** How far a streaming child may run ahead of its reader. */
const STDOUT_AHEAD = 1 << 20;
/** What was killed ends within moments, unless it waits in the kernel for a file system that does not answer. */
const KILLED_MS = 2_000;

/** A program to run: an absolute path and an argument list; there is no shell anywhere. */
export interface Program {
  file: string;
  args: readonly string[];
  /** It is killed (SIGKILL) after this time, and waited for a moment longer. */
  deadlineMs: number;
  cwd?: string;
  env?: Record<string, string>;
}

/** How a program ended. */
export interface Ended {
  /** Exit status; undefined when a signal ended it. */
  status: number | undefined;
  signal: string | undefined;
  timedOut: boolean;
}

/** A program that ended otherwise than well. */
export class ProgramFailed extends Error {
  readonly file: string;
  readonly ended: Ended;
  /** The end of what it wrote to standard error. */
  readonly stderr: string;

  constructor(file: string, ended: Ended, stderr: string) {
    const how = ended.timedOut
      ? 'did not end in time'
      : ended.signal !== undefined
        ? `was ended by ${ended.signal}`
        : `ended with status ${ended.status ?? '?'}`;
    super(`cannot finish ${file}: it ${how}${stderr.trim() === '' ? '' : `: ${stderr.trim()}`}`);
    this.name = 'ProgramFailed';
    this.file = file;
    this.ended = ended;
    this.stderr = stderr;
  }
}

const closeRange = declareInt('close_range', ['uint', 'uint', 'int']);
/** CLOSE_RANGE_CLOEXEC of include/uapi/linux/close_range.h. */
const CLOSE_RANGE_CLOEXEC = 4;

/**
 * Marks every descriptor from 3 up close-on-exec. For the start of the daemon: what a service manager or a shell
 * left open must not reach children. Everything opened later is marked by whoever opens it.
 */
export function keepDescriptorsFromChildren(): void {
  closeRange(3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
}

function optionsOf(program: Program): Options {
  if (!program.file.startsWith('/')) throw new Error('internal error: a program without its path');
  return {
    cwd: program.cwd ?? '/',
    env: { ...CLEAN_ENV, ...program.env },
    extendEnv: false,
    preferLocal: false,
    shell: false,
    killSignal: 'SIGKILL',
    reject: false,
    cleanup: true,
    stripFinalNewline: false,
  };
}

/** Why a program that neither exited nor was ended by a signal did not run at all. */
function notStarted(result: {
  exitCode?: number | undefined;
  signal?: string | undefined;
  code?: string | undefined;
}): string {
  const started = result.exitCode !== undefined || result.signal !== undefined;
  return started ? '' : (result.code ?? 'it could not be started');
}

/** Loaded on first use: the library costs 110 ms, and a swap runs no program. */
async function library(): Promise<typeof import('execa')> {
  return await import('execa');
}

/**
 * The end of a program, which is killed at its deadline, or before. One that does not even end then is left to itself: nobody can end
 * what waits for a FUSE server, and whoever has that server must not hold up the daemon. `left` is told, and the promise throws, why.
 */
function endOf(
  subprocess: Subprocess,
  { file, deadlineMs }: Program,
  said: () => string = () => '',
  left: (why: ProgramFailed) => void = () => {},
) {
  const hangs = Promise.withResolvers<never>();
  let timedOut = false;
  let settled = false;
  let grace: NodeJS.Timeout | undefined;
  const leave = (): void => {
    const { exitCode, signalCode } = subprocess.nodeChildProcess;
    const hasEnded = exitCode !== null || signalCode !== null;
    const reason = hasEnded
      ? 'what it has started holds its output'
      : 'it was killed, and waits in the kernel for what does not answer';
    const ended = { status: exitCode ?? undefined, signal: signalCode ?? undefined };
    const why = new ProgramFailed(file, { ...ended, timedOut: true }, said() || reason);
    hangs.reject(why);
    left(why);
    for (const stream of subprocess.stdio) stream?.destroy();
    subprocess.nodeChildProcess.unref();
  };
  const kill = (): void => {
    if (settled) return;
    subprocess.kill('SIGKILL');
    grace ??= setTimeout(leave, KILLED_MS);
  };
  const deadline = setTimeout(() => {
    timedOut = true;
    kill();
  }, deadlineMs);
  const result = Promise.race([subprocess, hangs.promise]).finally(() => {
    settled = true;
    clearTimeout(deadline);
    clearTimeout(grace);
  });
  return { result, kill, timedOut: () => timedOut };
}

/**
 * Runs a program to its end and returns its output. Throws ProgramFailed unless it exits with 0 or a status in
 * `accept`; also when it writes more than `outputMax` bytes or its deadline passes.
 */
export async function runProgram(
  program: Program & { input?: string | Uint8Array; outputMax?: number; accept?: number[] },
): Promise<{ stdout: string; stderr: string; status: number }> {
  const { execa } = await library();
  const subprocess = execa(program.file, [...program.args], {
    ...optionsOf(program),
    ...(program.input === undefined ? { stdin: 'ignore' as const } : { input: program.input }),
    maxBuffer: program.outputMax ?? OUTPUT_BYTES_MAX,
  }) as Subprocess;
  const end = endOf(subprocess, program);
  const result = await end.result;
  const stderr = String(result.stderr ?? '');
  const ended = { status: result.exitCode, signal: result.signal, timedOut: end.timedOut() };
  const status = result.exitCode ?? -1;
  if (result.isMaxBuffer) {
    throw new ProgramFailed(program.file, ended, 'it wrote more than allowed');
  }
  if (result.failed && !(program.accept ?? []).includes(status)) {
    const said = stderr === '' ? notStarted(result) : stderr;
    throw new ProgramFailed(program.file, ended, said.slice(-STDERR_KEPT));
  }
  return { stdout: String(result.stdout ?? ''), stderr, status };
}

/** A running child whose streams the caller reads and writes. */
export interface Child {
  pid: number;
  stdin: Writable | undefined;
  stdout: Readable;
  /**
   * Settles when the child has ended and its streams are closed, or soon after it was killed. Throws ProgramFailed unless it exited with 0.
   */
  done: Promise<void>;
  /**
   * The signal that ended it, if any, when the process itself has ended: its own children may hold the streams, and one that was killed may
   * hang in the kernel, when `done` has settled.
   */
  exited: Promise<string | undefined>;
  /** Sends SIGKILL to this one process. */
  kill(): void;
  /** Stops this one process where it is, or lets it go on. */
  hold(stopped: boolean): void;
  /** What it last wrote to standard error. */
  stderr(): string;
  /** The daemon's ends of the further pipes that were asked for. */
  pipes: Duplex[];
}

/** What a child is given besides its arguments. */
export interface ChildOptions {
  /** Open the standard input as a pipe; otherwise it is empty. */
  input?: boolean;
  /** Descriptors the child sees as 3, 4, ... in this order. They stay the caller's. */
  fds?: readonly number[];
  /** How many further pipes it gets, numbered after `fds`. */
  pipes?: number;
}

/**
 * Starts a child that streams. Backpressure is the pipes' own: read `stdout`, await `drain` of `stdin`. Throws ProgramFailed when there is no
 * process at all.
 */
export async function startProgram(program: Program, options: ChildOptions = {}): Promise<Child> {
  const { execa } = await library();
  const fds = options.fds ?? [];
  const count = options.pipes ?? 0;
  const stdio = [
    options.input === true ? 'pipe' : 'ignore',
    'pipe',
    'pipe',
    ...fds,
    ...Array<'pipe'>(count).fill('pipe'),
  ];
  const all = { ...optionsOf(program), buffer: false, stdio } as unknown as Options;
  const subprocess = execa(program.file, [...program.args], all) as Subprocess;
  const { pid } = subprocess;
  if (pid === undefined) {
    const result = await subprocess;
    for (const stream of subprocess.stdio) stream?.destroy();
    const ended = { status: undefined, signal: undefined, timedOut: false };
    throw new ProgramFailed(program.file, ended, notStarted(result));
  }
  let tail = '';
  subprocess.stderr?.on('data', (piece: Buffer) => {
    tail = (tail + piece.toString()).slice(-STDERR_KEPT);
  });
  // A reader that goes away, or a child that ends before its input, is told by `done`, not by a stream error.
  subprocess.stdin?.on('error', () => {});
  const pipes = Array.from(
    { length: count },
    (_, i) => subprocess.stdio[3 + fds.length + i] as Duplex,
  );
  // The library throws away what nobody reads by the time the program has ended: ours keeps it.
  for (const pipe of pipes) pipe.pause();
  const stdout = new PassThrough({ highWaterMark: STDOUT_AHEAD });
  stdout.on('error', () => {});
  pipeline(subprocess.stdout as Readable, stdout).catch(() => {});
  const end = endOf(
    subprocess,
    program,
    () => tail,
    (why) => stdout.destroy(why),
  );
  const done = (async () => {
    const result = await end.result;
    const ended = { status: result.exitCode, signal: result.signal, timedOut: end.timedOut() };
    if (result.exitCode !== 0 || ended.timedOut)
      throw new ProgramFailed(program.file, ended, tail || notStarted(result));
  })();
  done.catch(() => {});
  const exited = Promise.withResolvers<string | undefined>();
  subprocess.nodeChildProcess.once('exit', (_, signal) => exited.resolve(signal ?? undefined));
  return {
    pid,
    exited: exited.promise,
    stdin: subprocess.stdin ?? undefined,
    stdout,
    done,
    kill: end.kill,
    hold: (stopped) => void subprocess.kill(stopped ? 'SIGSTOP' : 'SIGCONT'),
    stderr: () => tail,
    pipes,
  };
}
