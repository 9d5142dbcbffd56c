import { readFileSync, readlinkSync } from 'node:fs';
import { failedWith } from './errno.ts';
import { parseMountinfo } from './mountinfo.ts';
import { readProcLines } from './proc-text.ts';
import { type RunningProgram, runningProgram } from './running-program.ts';

/** Of what one process sees. */
const MOUNTS_BYTES_MAX = 1 << 20;

/** What a process can have of its own, in the words of /proc/PID/ns. */
export const namespaceKinds = ['user', 'mnt', 'pid', 'ipc', 'uts', 'net'] as const;
export type NamespaceKind = (typeof namespaceKinds)[number];
export type Namespaces = Readonly<Record<NamespaceKind, string>>;

/** What stands around a process, by the kernel's word. */
export interface ProcessWalls {
  pid: number;
  program: Pick<RunningProgram, 'path' | 'device' | 'inode'>;
  namespaces: Namespaces;
  /** It can win no privileges by starting a program. */
  noNewPrivs: boolean;
  /** A filter of system calls is in force. */
  filtered: boolean;
  /** It has capabilities, in whatever namespace. */
  capable: boolean;
  /**
   * What it sees: where, and of which file system (`major:minor`). Paths are byte strings; later covers earlier. Nothing where it sees too much
   * to be told.
   */
  mounts: readonly { at: string; device: string }[];
}

/** The fields of a text like /proc/PID/status that tell of rights. Pure. */
export function parseRights(
  status: string,
): Pick<ProcessWalls, 'noNewPrivs' | 'filtered' | 'capable'> {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(status)?.[1];
  return {
    noNewPrivs: field('NoNewPrivs') === '1',
    filtered: field('Seccomp') === '2',
    // What cannot be read is not taken for a wall.
    capable: !/^0+$/.test(field('CapEff') ?? ''),
  };
}

function namespacesOf(pid: number): Namespaces {
  const all = namespaceKinds.map((kind) => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)]);
  return Object.fromEntries(all) as Namespaces;
}

/**
 * The namespaces of the machine: those of its first process, as the daemon itself may have a net of its own. Where that process may not be looked at (a
 * container's may have more rights than we), the daemon's.
 */
export function machineNamespaces(): Namespaces {
  try {
    return namespacesOf(1);
  } catch (error) {
    if (failedWith(error, 'EACCES', 'EPERM')) return namespacesOf(process.pid);
    throw error;
  }
}

async function mountsOf(pid: number): Promise<ProcessWalls['mounts']> {
  const mounts: { at: string; device: string }[] = [];
  try {
    await readProcLines(`/proc/${pid}/mountinfo`, MOUNTS_BYTES_MAX, (lines) => {
      for (const { at, device } of parseMountinfo(lines)) mounts.push({ at, device });
      return false;
    });
    return mounts;
  } catch (error) {
    if (failedWith(error, 'EFBIG')) return [];
    throw error;
  }
}

/** What stands around a process; undefined when it has ended. */
export async function readWalls(pid: number): Promise<ProcessWalls | undefined> {
  try {
    const program = runningProgram(pid);
    if (program === undefined) return undefined;
    const { path, device, inode } = program;
    return {
      pid,
      program: { path, device, inode },
      namespaces: namespacesOf(pid),
      ...parseRights(readFileSync(`/proc/${pid}/status`, 'latin1')),
      mounts: await mountsOf(pid),
    };
  } catch (error) {
    // EINVAL: it is just ending, and sees no mounts any more.
    if (failedWith(error, 'ENOENT', 'ESRCH', 'EINVAL')) return undefined;
    throw error;
  }
}
