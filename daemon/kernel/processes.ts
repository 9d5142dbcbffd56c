import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { type MountLine, parseMountinfo } from './mountinfo.ts';
import { readStatusField } from './process-status.ts';
import { statProcLink } from './stat-mount.ts';

const pidfdOpen = declareInt('pidfd_open', ['int', 'uint']);
const pidfdSendSignal = declareInt('pidfd_send_signal', ['int', 'int', 'bytes', 'uint']);

/** Processes looked at before the event loop gets its turn. */
const SLICE = 16;
/** Descriptors looked at per process: a program with more open files is found by its root or maps. */
const FDS_LIMIT = 4_096;

/** A process, named so that a reused number is noticed. */
export interface ProcessId {
  pid: number;
  /** Start time in clock ticks since boot: field 22 of /proc/PID/stat. */
  startTime: number;
}

/** Why a process keeps a file system alive. */
export type Hold = 'root' | 'cwd' | 'fd' | 'map' | 'namespace';

/**
 * How closely to look. `programs`: root, working folder, program, own mount namespace: what a status page tells, in a
 * millisecond. `all`: open and mapped files too, some 5 us for each descriptor of the machine.
 */
export type Look = 'programs' | 'all';

/** A process that keeps one of the asked file systems alive. */
export interface Inside extends ProcessId {
  uid: number;
  /** Short name, as the kernel keeps it (any bytes: escape before printing). */
  name: string;
  device: string;
  by: Hold;
}

/** Start time, name and uid of a process, or undefined when it is gone. */
export function processStat(pid: number): (ProcessId & { name: string; uid: number }) | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const open = stat.indexOf('(');
    const close = stat.lastIndexOf(')');
    const startTime = Number(stat.slice(close + 2).split(' ')[19]);
    const uid = Number(readStatusField(pid, 'Uid')?.split('\t')[1] ?? -1);
    return { pid, startTime, name: stat.slice(open + 1, close), uid };
  } catch {
    return undefined;
  }
}

function linkHold(folder: string, devices: ReadonlySet<string>): [Hold, string] | undefined {
  for (const by of ['root', 'cwd'] as const) {
    const device = statProcLink(`${folder}/${by}`)?.device;
    if (device !== undefined && devices.has(device)) return [by, device];
  }
  return undefined;
}

function fdHold(folder: string, devices: ReadonlySet<string>): [Hold, string] | undefined {
  for (const fd of readdirSync(`${folder}/fd`).slice(0, FDS_LIMIT)) {
    const device = statProcLink(`${folder}/fd/${fd}`)?.device;
    if (device !== undefined && devices.has(device)) return ['fd', device];
  }
  return undefined;
}

function mapHold(folder: string, devices: ReadonlySet<string>): [Hold, string] | undefined {
  const maps = readFileSync(`${folder}/maps`, 'latin1');
  for (const match of maps.matchAll(/(?<![^\n])\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) /g)) {
    const device = `${Number.parseInt(match[1]!, 16)}:${Number.parseInt(match[2]!, 16)}`;
    if (devices.has(device)) return ['map', device];
  }
  return undefined;
}

function programHold(folder: string, devices: ReadonlySet<string>): [Hold, string] | undefined {
  const device = statProcLink(`${folder}/exe`)?.device;
  return device !== undefined && devices.has(device) ? ['map', device] : undefined;
}

/**
 * The first of these file systems that a namespace keeps for itself. Where the mount above is shared with or follows
 * another namespace, as those of most services do, what is taken off outside goes there too.
 */
function keptOf(lines: MountLine[], devices: ReadonlySet<string>): string | undefined {
  const follows = new Set(
    lines
      .filter(({ shared, master }) => shared !== undefined || master !== undefined)
      .map(({ id }) => id),
  );
  return lines.find(({ device, parent }) => devices.has(device) && !follows.has(parent))?.device;
}

/** Looks at each mount namespace once: a private one keeps what it had when it was made. */
class Namespaces {
  #seen = new Map<string, string | undefined>([[readlinkSync('/proc/self/ns/mnt'), undefined]]);

  hold(folder: string, devices: ReadonlySet<string>): [Hold, string] | undefined {
    const namespace = readlinkSync(`${folder}/ns/mnt`);
    if (!this.#seen.has(namespace)) {
      const lines = parseMountinfo(readFileSync(`${folder}/mountinfo`, 'latin1'));
      this.#seen.set(namespace, keptOf(lines, devices));
    }
    const device = this.#seen.get(namespace);
    return device === undefined ? undefined : ['namespace', device];
  }
}

function holdOf(
  pid: number,
  devices: ReadonlySet<string>,
  namespaces: Namespaces,
  look: Look,
): [Hold, string] | undefined {
  const folder = `/proc/${pid}`;
  try {
    if (look === 'programs') {
      return (
        linkHold(folder, devices) ??
        programHold(folder, devices) ??
        namespaces.hold(folder, devices)
      );
    }
    return (
      linkHold(folder, devices) ??
      fdHold(folder, devices) ??
      mapHold(folder, devices) ??
      namespaces.hold(folder, devices)
    );
  } catch {
    return undefined; // it has ended meanwhile, or is a kernel thread
  }
}

/** PF_KTHREAD of include/linux/sched.h: field 9 of /proc/PID/stat. */
const PF_KTHREAD = 0x00200000;

/**
 * The kernel's own threads, half of all processes of a machine: they have no files and no tree of their own. They
 * are the children of process 2, where that one is a thread of the kernel; elsewhere (a pid namespace) none are seen.
 */
function kernelThreads(): ReadonlySet<number> {
  try {
    const stat = readFileSync('/proc/2/stat', 'latin1');
    const flags = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6]);
    if ((flags & PF_KTHREAD) === 0) return new Set();
    const children = readFileSync('/proc/2/task/2/children', 'latin1');
    return new Set([
      2,
      ...children
        .split(' ')
        .filter((pid) => pid !== '')
        .map(Number),
    ]);
  } catch {
    return new Set();
  }
}

/**
 * Every other process that keeps one of these file systems alive: by its root, working folder, an open file, a mapped file,
 * or a mount namespace of its own. One entry per process, the strongest reason first. What /proc cannot show
 * (a descriptor in flight between processes) is not found: absence here is a hint, the end of the file system is the proof.
 * @param devices `major:minor` of the file systems, as mountinfo writes them.
 */
export async function whoIsInside(
  devices: ReadonlySet<string>,
  look: Look = 'all',
): Promise<Inside[]> {
  const found: Inside[] = [];
  if (devices.size === 0) return found;
  const namespaces = new Namespaces();
  const kernel = kernelThreads();
  let looked = 0;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid || kernel.has(pid)) continue;
    looked += 1;
    if (looked % SLICE === 0) await turn();
    const hold = holdOf(pid, devices, namespaces, look);
    const stat = hold === undefined ? undefined : processStat(pid);
    if (hold !== undefined && stat !== undefined)
      found.push({ ...stat, by: hold[0], device: hold[1] });
  }
  return found;
}

/** A handle on a process that a reused number cannot redirect; undefined when it is gone or is another one by now. */
export function openProcess(id: ProcessId): Fd | undefined {
  let handle: Fd;
  try {
    handle = new Fd(pidfdOpen(id.pid, 0), `process ${id.pid}`);
  } catch (error) {
    if (failedWith(error, 'ESRCH', 'EINVAL')) return undefined;
    throw error;
  }
  if (processStat(id.pid)?.startTime === id.startTime) return handle;
  handle.close();
  return undefined;
}

/** Sends a signal through a handle. False when the process has ended and was reaped. */
export function signalProcess(handle: Fd, signal: 'SIGTERM' | 'SIGKILL' | 'SIGCONT'): boolean {
  try {
    pidfdSendSignal(handle.number, constants.signals[signal], null, 0);
    return true;
  } catch (error) {
    if (failedWith(error, 'ESRCH')) return false;
    throw error;
  }
}
