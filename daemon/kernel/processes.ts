import { opendirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { hangsInExec, throwIfHangs } from './mid-exec.ts';
import { MountNamespaces } from './mount-namespaces.ts';
import { MOUNTS_BYTES_MAX, parseMountinfo } from './mountinfo.ts';
import { PacedLook } from './paced-look.ts';
import { MAPS_BYTES_MAX } from './proc-text.ts';
import { processIds } from './process-ids.ts';
import { readStatusField } from './process-status.ts';
import { statProcLink } from './stat-mount.ts';

const pidfdOpen = declareInt('pidfd_open', ['int', 'uint']);
const pidfdSendSignal = declareInt('pidfd_send_signal', ['int', 'int', 'bytes', 'uint']);

/** Descriptors looked at per process: a program with more open files is found by its root or maps. */
const FDS_LIMIT = 4_096;
/** Descriptors that are listed at once. */
const FDS_PIECE = 256;
/** The start of a process that did not tell it: whoever has its number counts as that one, and is never ended for it. */
export const UNTOLD = -1;
/** More of those that could not be told are not named. */
const UNSURE_MAX = 1_000;

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
/** A look that is not over by then is given up: what was not looked at counts as inside. */
const LOOK_MS = { programs: 2_000, all: 10_000 };

/** A process that keeps one of the asked file systems alive. */
export interface Inside extends ProcessStat {
  /** Absent: what it has mapped or mounted could not be told, so it may be any of them. Such a one is never ended for it. */
  device?: string;
  by: Hold;
}

/** A process as /proc tells of it. */
export interface ProcessStat extends ProcessId {
  /** Short name, as the kernel keeps it (any bytes: escape before printing). */
  name: string;
  uid: number;
}

/** Start time, name and uid of a process, or undefined when it is gone, or hangs on its way to another program. */
export function processStat(pid: number): ProcessStat | undefined {
  if (hangsInExec(pid)) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const open = stat.indexOf('(');
    const close = stat.lastIndexOf(')');
    const startTime = Number(stat.slice(close + 2).split(' ')[19]);
    return { pid, startTime, name: stat.slice(open + 1, close), uid: uidOf(pid) };
  } catch {
    return undefined;
  }
}

/** Who a process is to the kernel: its effective id. Throws when it has ended. */
export const uidOf = (pid: number): number =>
  Number(readStatusField(pid, 'Uid')?.split('\t')[1] ?? -1);

/**
 * The same of one that was seen before, or undefined when it is gone. One that hangs on its way to another program has not ended, and does not tell
 * when it began: it is taken at its number.
 */
export function statOf(process: ProcessId): ProcessStat | undefined {
  const { pid, startTime } = process;
  // Once more, as it may have become the other program in between.
  const stat = processStat(pid) ?? hungStat(process) ?? processStat(pid);
  return startTime === UNTOLD || stat?.startTime === startTime ? stat : undefined;
}

function hungStat({ pid, startTime }: ProcessId): ProcessStat | undefined {
  if (!hangsInExec(pid)) return undefined;
  try {
    return { pid, startTime, name: readStatusField(pid, 'Name') ?? '', uid: uidOf(pid) };
  } catch {
    return undefined;
  }
}

type Devices = ReadonlySet<string>;
/** Why, and of which file system; without that it could not be told. */
type Held = [by: Hold, device?: string] | undefined;

function linkHold(pid: number, devices: Devices): Held {
  for (const by of ['root', 'cwd'] as const) {
    const device = statProcLink(`/proc/${pid}/${by}`)?.device;
    if (device !== undefined && devices.has(device)) return [by, device];
  }
  return undefined;
}

async function fdHold(pid: number, devices: Devices, look: PacedLook): Promise<Held> {
  await look.throwIfOver();
  const names = opendirSync(`/proc/${pid}/fd`, { bufferSize: FDS_PIECE });
  try {
    for (let looked = 0; looked < FDS_LIMIT; looked += 1) {
      const name = names.readSync()?.name;
      if (name === undefined) break;
      const device = statProcLink(`/proc/${pid}/fd/${name}`)?.device;
      if (device !== undefined && devices.has(device)) return ['fd', device];
      if (looked % FDS_PIECE < FDS_PIECE - 1) continue;
      await look.breathe();
      await look.throwIfOver();
      throwIfHangs(pid);
    }
    return undefined;
  } finally {
    names.closeSync();
  }
}

async function mapHold(pid: number, devices: Devices, look: PacedLook): Promise<Held> {
  let held: Held;
  throwIfHangs(pid);
  await look.lines(`/proc/${pid}/maps`, MAPS_BYTES_MAX, (lines) => {
    for (const match of lines.matchAll(/(?<![^\n])\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) /g)) {
      const device = `${Number.parseInt(match[1]!, 16)}:${Number.parseInt(match[2]!, 16)}`;
      if (devices.has(device)) held = ['map', device];
      if (held !== undefined) return true;
    }
    return false;
  });
  return held;
}

function programHold(pid: number, devices: Devices): Held {
  const device = statProcLink(`/proc/${pid}/exe`)?.device;
  return device !== undefined && devices.has(device) ? ['map', device] : undefined;
}

/**
 * The first of these file systems that a namespace keeps for itself. Where the mount above is shared with or follows
 * another namespace, as those of most services do, what is taken off outside goes there too.
 */
async function keptOf(pid: number, devices: Devices, look: PacedLook): Promise<Held> {
  const follows = new Set<number>();
  const there: { device: string; parent: number }[] = [];
  await look.lines(`/proc/${pid}/mountinfo`, MOUNTS_BYTES_MAX, (lines) => {
    for (const { id, parent, device, shared, master } of parseMountinfo(lines)) {
      if (shared !== undefined || master !== undefined) follows.add(id);
      if (devices.has(device)) there.push({ device, parent });
    }
    return false;
  });
  const kept = there.find(({ parent }) => !follows.has(parent));
  return kept && ['namespace', kept.device];
}

/** The same of a namespace that may be too long to be read: then it counts as one that keeps them. */
async function namespaceHold(pid: number, devices: Devices, look: PacedLook): Promise<Held> {
  try {
    return await keptOf(pid, devices, look);
  } catch (error) {
    if (isNobody(error)) throw error;
    return ['namespace'];
  }
}

/** It has ended meanwhile, or is a thread of the kernel, or one that may not be looked at; everything else could not be told. */
export const isNobody = (error: unknown): boolean =>
  failedWith(error, 'ENOENT', 'ESRCH', 'EINVAL', 'EACCES', 'EPERM');

async function holdOf(
  pid: number,
  devices: Devices,
  look: PacedLook,
  closely: Look,
): Promise<Held> {
  throwIfHangs(pid);
  const held = linkHold(pid, devices);
  if (closely === 'programs') return held ?? programHold(pid, devices);
  return (
    held ??
    (await fdHold(pid, devices, look)) ??
    programHold(pid, devices) ??
    (await mapHold(pid, devices, look))
  );
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
 * Those whom /proc says too much of to be told come last, without a device.
 * @param devices `major:minor` of the file systems, as mountinfo writes them.
 */
export async function whoIsInside(devices: Devices, closely: Look = 'all'): Promise<Inside[]> {
  if (devices.size === 0) return [];
  const [found, unsure]: [Inside[], Inside[]] = [[], []];
  using look = new PacedLook(LOOK_MS[closely]);
  // A private one keeps what it had when it was made.
  const namespaces = new MountNamespaces<Held>(undefined, (pid) =>
    namespaceHold(pid, devices, look),
  );
  const heldBy = async (pid: number): Promise<Held> => {
    try {
      return (await holdOf(pid, devices, look, closely)) ?? (await namespaces.of(pid));
    } catch (error) {
      return isNobody(error) ? undefined : ['map'];
    }
  };
  const kernel = kernelThreads();
  const all = processIds().filter((pid) => pid !== process.pid && !kernel.has(pid));
  await look.each(all, async (pid) => {
    const held = await heldBy(pid);
    const stat = held && statOf({ pid, startTime: UNTOLD });
    if (held === undefined || stat === undefined) return;
    const [by, device] = held;
    if (device !== undefined) found.push({ ...stat, by, device });
    else if (unsure.length < UNSURE_MAX) unsure.push({ ...stat, by });
  });
  const byPid = (one: Inside, other: Inside) => one.pid - other.pid;
  return [...found.sort(byPid), ...unsure.sort(byPid)];
}

/** A handle on a process that a reused number cannot redirect; undefined when it is gone or is another one by now. */
export function openProcess(id: ProcessId): Fd | undefined {
  const handle = openNumber(id.pid);
  if (handle === undefined) return undefined;
  if (processStat(id.pid)?.startTime === id.startTime) return handle;
  handle.close();
  return undefined;
}

/** The same for whoever has a number now; undefined when nobody has. */
export function openNumber(pid: number): Fd | undefined {
  try {
    return new Fd(pidfdOpen(pid, 0), `process ${pid}`);
  } catch (error) {
    if (failedWith(error, 'ESRCH', 'EINVAL')) return undefined;
    throw error;
  }
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
