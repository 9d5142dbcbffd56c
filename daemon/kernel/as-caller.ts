import type { Caller } from './become-caller.ts';
import { childGroup, endTogether, joinGroup } from './child-group.ts';
import { type Child, startProgram } from './exec.ts';
import { programFile } from './program-files.ts';

export type { Caller } from './become-caller.ts';

const PRLIMIT = '/usr/bin/prlimit';
const SETPRIV = '/usr/bin/setpriv';

/** Bounds of a child that works as a user on the user's files. */
export interface CallerLimits {
  memoryBytes: number;
  fileBytes: number;
  cpuSeconds: number;
  processes: number;
  openFiles: number;
}

export const callerLimits: CallerLimits = {
  memoryBytes: 1024 ** 3,
  fileBytes: 16 * 1024 ** 4,
  cpuSeconds: 3600,
  processes: 64,
  openFiles: 1024,
};

/** Address space V8 reserves at its start and never touches. */
const NODE_RESERVES_BYTES = 640 * 1024 ** 2;

function limitArguments(limits: CallerLimits, ownProcesses: boolean): string[] {
  return [
    '--core=0',
    `--data=${limits.memoryBytes + NODE_RESERVES_BYTES}`,
    `--fsize=${limits.fileBytes}`,
    `--cpu=${limits.cpuSeconds}`,
    // RLIMIT_NPROC counts all of the user's processes: it can only bound a uid that is the child's own.
    ...(ownProcesses ? [`--nproc=${limits.processes}`] : []),
    `--nofile=${limits.openFiles}`,
    '--',
  ];
}

/** Of one name so many may hang in the kernel: each keeps its memory, for as long as a file system of its user does not answer. */
const HANGING_MAX = 4;
/** Those that were killed and have not ended, with their names. */
const hanging = new Map<Child, string>();

/** Notes a child that has not ended when it is waited for no longer, until it does. */
function noteHanging(child: Child, name: string): void {
  let hangs = true;
  const exited = child.exited.then(() => {
    hangs = false;
  });
  child.done.catch(() => {
    if (!hangs) return;
    hanging.set(child, name);
    void exited.then(() => hanging.delete(child));
  });
}

/** Starts a program of ours with bounds, a deadline and a group of its own: all of it ends with it. */
export async function startLimited(
  argv: readonly string[],
  options: {
    deadlineMs: number;
    limits: CallerLimits;
    name: string;
    fds?: readonly number[];
    input: boolean;
  },
): Promise<Child> {
  const { limits, name } = options;
  const hang = [...hanging.values()].filter((one) => one === name).length;
  if (hang >= HANGING_MAX)
    throw new Error(
      `cannot start ${name}: ${hang} like it hang in a file system that does not answer; unmount that`,
    );
  const group = await childGroup(name, limits);
  let child: Child;
  try {
    child = await startProgram(
      {
        file: PRLIMIT,
        args: [...limitArguments(limits, false), ...argv],
        deadlineMs: options.deadlineMs,
      },
      { input: options.input, fds: options.fds ?? [] },
    );
  } catch (error) {
    await group.end();
    throw error;
  }
  noteHanging(child, name);
  await joinGroup(child, group, [child.pid]);
  const kill = (): void => {
    group.kill();
    child.kill();
  };
  return { ...child, kill, done: endTogether(child, group) };
}

/** A program run as the caller. */
export interface CallerProgram {
  argv: readonly string[];
  caller: Caller;
  deadlineMs: number;
  limits?: Partial<CallerLimits>;
  fds?: readonly number[];
  input?: boolean;
}

/**
 * Runs a program of the system with the caller's uid, gid and all groups, no way to more rights, limits, a deadline and a
 * cgroup of its own (SECURITY 16). It dies with the daemon. What it answers is the caller's word, not ours.
 */
export async function startAsCaller(program: CallerProgram): Promise<Child> {
  const { uid, gid, groups } = program.caller;
  const argv = [
    SETPRIV,
    ...['--reuid', String(uid), '--regid', String(gid)],
    ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')]),
    ...(uid === 0 ? [] : ['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all']),
    ...['--no-new-privs', '--pdeathsig', 'KILL', '--'],
    ...program.argv,
  ];
  const limits = { ...callerLimits, ...program.limits };
  return await startLimited(argv, {
    deadlineMs: program.deadlineMs,
    limits,
    name: `caller-${uid}`,
    input: program.input === true,
    ...(program.fds === undefined ? {} : { fds: program.fds }),
  });
}

/** What to walk, as whom. */
export interface WalkRequest {
  caller: Caller;
  /** An absolute path as the caller would write it (UTF-8). */
  path: string;
  /** Byte strings relative to it: see WalkOptions. */
  exclude?: readonly string[];
  blank?: readonly string[];
  leaveWith?: readonly string[];
  /** The tree is in use, chosen parts of it, writable layers, folders that lie elsewhere: see WalkOptions. */
  live?: boolean;
  only?: readonly string[];
  uppers?: boolean;
  grafts?: readonly { path: string; folder: string }[];
  deadlineMs: number;
  limits?: Partial<CallerLimits>;
}

/**
 * Starts the tree walker as the caller; its standard output is the canonical entry stream of the tree. The walker's files
 * may lie where the caller cannot read: it starts as root, drops to the caller, and only then learns what to do.
 */
export async function startWalker(request: WalkRequest): Promise<Child> {
  const limits = { ...callerLimits, ...request.limits };
  const argv = [process.execPath, '--no-warnings', programFile('walker')];
  const name = `walker-${request.caller.uid}`;
  const child = await startLimited(argv, {
    deadlineMs: request.deadlineMs,
    limits,
    name,
    input: true,
  });
  const { caller, path, exclude = [], blank = [], leaveWith = [], live = false } = request;
  const { only, uppers, grafts } = request;
  const task = { caller, path, exclude, blank, leaveWith, live, only, uppers, grafts };
  child.stdin?.end(`${JSON.stringify(task)}\n`);
  return child;
}
