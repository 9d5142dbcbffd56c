import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { type ChildGroup, childGroup, endTogether, joinGroup } from './child-group.ts';
import { type Child, startProgram } from './exec.ts';
import { readProcText } from './proc-text.ts';
import { processIds } from './process-ids.ts';
import { uidOf } from './processes.ts';
import { confinedFilter } from './seccomp.ts';

const PRLIMIT = '/usr/bin/prlimit';
const UNSHARE = '/usr/bin/unshare';
const BWRAP = '/usr/bin/bwrap';
const SETPRIV = '/usr/bin/setpriv';

/**
 * User ids of confined children: one for each, so that none can signal, trace or exhaust the processes of another.
 * In the range systemd leaves unused (uid ranges of its documentation: 1 879 048 192 to 2 147 352 575).
 */
const FIRST_UID = 1_900_000_000;
const UIDS = 65_536;
let nextUid = 0;

/** Address space that V8 reserves for code at its start and that counts as data; it is never touched. */
const NODE_RESERVES_BYTES = 640 * 1024 ** 2;

/** Bounds of one child; the defaults suit a reader or writer of images. */
export interface ConfinedLimits {
  /** Private memory of each of its processes (RLIMIT_DATA), and of all of them where it has a memory cgroup. */
  memoryBytes: number;
  /** Longest file it can write through a descriptor it was given. */
  fileBytes: number;
  cpuSeconds: number;
  /** Its processes and threads together. Node alone has eleven. */
  processes: number;
  openFiles: number;
}

export const confinedLimits: ConfinedLimits = {
  memoryBytes: 2 * 1024 ** 3,
  fileBytes: 16 * 1024 ** 4,
  cpuSeconds: 3600,
  processes: 64,
  openFiles: 256,
};

/** A host path shown, read-only, at a place in the child's otherwise empty root. */
export interface Shown {
  from: string;
  at: string;
}

/** What runs in a confined child. */
export interface ConfinedProgram {
  /** The command line, as seen inside. */
  argv: readonly string[];
  /** Besides /usr and its library links. */
  shown: readonly Shown[];
  deadlineMs: number;
  limits?: Partial<ConfinedLimits>;
  env?: Record<string, string>;
  /** Descriptors it gets as 3, 4, ...; with its three standard streams they are all it has. */
  fds?: readonly number[];
  /** It reads its standard input. */
  input?: boolean;
}

/** Whom a child runs as, and a name that stands in the command line of no other process. */
interface Identity {
  uid: number;
  name: string;
}

/** Distributions before the merge of /usr have real folders here. */
const LIBRARY_PLACES = ['/lib', '/lib64', '/lib32', '/bin', '/sbin'];

function rootArguments(shown: readonly Shown[]): string[] {
  const args = ['--ro-bind', '/usr', '/usr'];
  for (const place of LIBRARY_PLACES) {
    if (statSync(place, { throwIfNoEntry: false })?.isDirectory() !== true) continue;
    args.push('--ro-bind', place, place);
  }
  const made = new Set(['/']);
  const makeFolders = (folder: string): void => {
    if (made.has(folder)) return;
    makeFolders(dirname(folder));
    made.add(folder);
    args.push('--perms', '0755', '--dir', folder);
  };
  for (const { from, at } of shown) {
    makeFolders(dirname(at));
    args.push('--ro-bind', from, at);
  }
  args.push('--remount-ro', '/');
  return args;
}

function argumentsOf(
  program: ConfinedProgram,
  { uid, name }: Identity,
  firstPipe: number,
): string[] {
  const limits = { ...confinedLimits, ...program.limits };
  return [
    '--core=0',
    `--data=${limits.memoryBytes + NODE_RESERVES_BYTES}`,
    `--fsize=${limits.fileBytes}`,
    `--cpu=${limits.cpuSeconds}`,
    `--nproc=${limits.processes}`,
    `--nofile=${limits.openFiles}`,
    '--',
    // Not bwrap's own option: that one sets up a loopback interface, which takes rights over all networks.
    ...[UNSHARE, '--net', '--'],
    BWRAP,
    // No user namespace: root makes the namespaces and the ids are dropped inside, so this needs no support for
    // unprivileged ones; with the filter none can be made later either.
    ...['--unshare-pid', '--unshare-ipc', '--unshare-cgroup-try'],
    ...['--die-with-parent', '--new-session', '--clearenv'],
    ...['--setenv', 'PERSONAD_CHILD', name],
    ...['--setenv', 'PATH', '/usr/bin:/bin', '--setenv', 'LC_ALL', 'C', '--setenv', 'TZ', 'UTC'],
    ...Object.entries(program.env ?? {}).flatMap(([name, value]) => ['--setenv', name, value]),
    ...rootArguments(program.shown),
    ...['--chdir', '/'],
    ...['--seccomp', String(firstPipe), '--info-fd', String(firstPipe + 1)],
    ...['--block-fd', String(firstPipe + 2)],
    '--',
    SETPRIV,
    ...['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--no-new-privs'],
    ...['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all', '--'],
    ...program.argv,
  ];
}

/** Of a command line of ours: the words of bwrap, of the rights that are dropped, and of the program. */
const WORDS_BYTES_MAX = 1 << 20;

/**
 * Ends what bwrap has left that was killed itself: between its fork and the moment in which it has told its child to go on
 * the child waits for it for ever, holds the streams, and is in no group yet.
 */
function endStrays(name: string): void {
  for (const pid of processIds()) {
    try {
      // It has all rights until it goes on; what others say of themselves may be without end, or be told by nobody.
      if (uidOf(pid) !== 0) continue;
      const words = readProcText(`/proc/${pid}/cmdline`, WORDS_BYTES_MAX).split('\0');
      if (words.includes(name)) process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended meanwhile, or says more than it was started with
    }
  }
}

async function readAll(pipe: Duplex): Promise<string> {
  let text = '';
  for await (const piece of pipe) text += String(piece);
  return text;
}

/** The first process inside, by bwrap's report; undefined when bwrap ended before it could say. */
async function insidePid(pipe: Duplex): Promise<number | undefined> {
  try {
    const pid = (JSON.parse(await readAll(pipe)) as { 'child-pid'?: unknown })['child-pid'];
    return typeof pid === 'number' ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Starts a program in a confined child (SECURITY 9): a uid of its own and no groups or capabilities, an empty root
 * with /usr, its own files and nothing else, no network, own pid and ipc namespaces, a system call filter, limits, a
 * deadline, its own cgroup where the machine lets us make one. Exactly the descriptors given reach it.
 * Its death, or the daemon's, ends all its processes. Throws ProgramFailed (from `done`) when it ends badly.
 */
export async function startConfined(program: ConfinedProgram): Promise<Child> {
  const uid = FIRST_UID + (nextUid++ % UIDS);
  const fds = program.fds ?? [];
  const limits = { ...confinedLimits, ...program.limits };
  const name = `confined-${randomBytes(8).toString('hex')}`;
  const group: ChildGroup = await childGroup(`confined-${uid}`, limits);
  let child: Child;
  try {
    child = await startProgram(
      {
        file: PRLIMIT,
        args: argumentsOf(program, { uid, name }, 3 + fds.length),
        deadlineMs: program.deadlineMs,
      },
      { fds, pipes: 3, input: program.input === true },
    );
  } catch (error) {
    await group.end();
    throw error;
  }
  void child.exited.then((signal) => signal !== undefined && endStrays(name));
  const [filter, info, block] = child.pipes as [Duplex, Duplex, Duplex];
  for (const pipe of child.pipes) pipe.on('error', () => {});
  filter.end(confinedFilter());
  const inside = await insidePid(info);
  if (inside !== undefined) await joinGroup(child, group, [child.pid, inside]);
  // Until here the child has waited: everything it starts is born inside its cgroup.
  block.end('go');
  const kill = (): void => {
    group.kill();
    child.kill();
  };
  return { ...child, kill, done: endTogether(child, group) };
}
