import { constants, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { failedWith, KernelError } from './errno.ts';
import { type MountLine, readMountinfo } from './mountinfo.ts';

/** One mounted hierarchy: the unified one (version 2), or that of some version 1 controllers. */
export interface Hierarchy {
  version: 1 | 2;
  /** Where it is mounted. */
  at: string;
  /** Controllers that can be used there. Version 2: those the root group offers. */
  controllers: string[];
}

/** Words of a version 1 mount's options that name no controller. */
const NOT_CONTROLLERS = new Set(['rw', 'ro', 'noprefix', 'clone_children', 'xattr']);

/** The hierarchies of a mount table. Pure: version 2 controllers are read by `readHierarchies`. */
export function hierarchiesOf(mounts: MountLine[]): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const mount of mounts) {
    if (mount.type === 'cgroup2') found.push({ version: 2, at: mount.at, controllers: [] });
    if (mount.type !== 'cgroup') continue;
    const words = mount.superOptions.filter((word) => !NOT_CONTROLLERS.has(word));
    const controllers = words.filter((word) => !word.includes('='));
    found.push({ version: 1, at: mount.at, controllers });
  }
  return found;
}

/** The cgroup hierarchies this process sees. */
export function readHierarchies(): Hierarchy[] {
  return hierarchiesOf(readMountinfo()).map((one) =>
    one.version === 1 ? one : { ...one, controllers: words(`${one.at}/cgroup.controllers`) },
  );
}

/** The group of a process in a hierarchy, from a text like /proc/PID/cgroup; below the mount. Pure. */
export function groupIn(text: string, { version, controllers }: Hierarchy): string | undefined {
  for (const line of text.split('\n')) {
    const [, names = '', path] = /^\d+:([^:]*):(\/.*)$/s.exec(line) ?? [];
    const fits = version === 2 ? names === '' : names.split(',').includes(controllers[0] ?? '');
    if (path !== undefined && fits) return path;
  }
  return undefined;
}

function words(path: string): string[] {
  try {
    return readFileSync(path, 'ascii').split(/\s+/).filter(Boolean);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return [];
    throw error;
  }
}

/** A knob's file name: no slash, no dots that climb. */
function fileOf(group: string, knob: string): string {
  if (!/^[a-z0-9_]+(\.[a-z0-9_]+)+$/.test(knob)) throw new Error(`internal error: knob ${knob}`);
  return `${group}/${knob}`;
}

/** Makes a group (a folder below its hierarchy) unless it is there. Returns its inode id, which names this very group. */
export function createGroup(group: string): bigint {
  try {
    mkdirSync(group, { mode: 0o755 });
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
  }
  return statSync(group, { bigint: true }).ino;
}

/** The inode id of a group, or undefined when it does not exist. */
export function groupId(group: string): bigint | undefined {
  try {
    return statSync(group, { bigint: true }).ino;
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENODEV', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Removes an empty group. False when processes or child groups are still in it. */
export function removeGroup(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return true;
    if (failedWith(error, 'EBUSY', 'ENOTEMPTY')) return false;
    throw error;
  }
}

/** A knob's value without its line end, or undefined where this kernel, controller or group has none. */
export function readKnob(group: string, knob: string): string | undefined {
  try {
    return readFileSync(fileOf(group, knob), 'latin1').replace(/\n$/, '');
  } catch (error) {
    // ENODEV: the group has gone since its file was opened.
    if (failedWith(error, 'ENOENT', 'ENODEV', 'ENOTDIR', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/** Writes a knob, in the thread pool: lowering a memory limit reclaims before it returns (seen 0.1 to 1 s). Never creates a file. */
export async function writeKnob(
  group: string,
  knob: string,
  value: string,
  options: { nonBlocking?: boolean } = {},
): Promise<void> {
  const path = fileOf(group, knob);
  // Emptied first as by a shell: the kernel ignores that, and a tree of plain files keeps no tail of an old value.
  const flags = constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW;
  const extra = options.nonBlocking === true ? constants.O_NONBLOCK : 0;
  try {
    const file = await open(path, flags | extra);
    try {
      await file.write(value);
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    throw new KernelError('write', code, `${value} to ${path}`);
  }
}

/** Processes directly in a group. */
export function processesOf(group: string): number[] {
  return words(`${group}/cgroup.procs`).map(Number);
}

/** Moves one process into a group. Costs a few milliseconds when the last move was long ago (RCU). */
export async function moveProcess(group: string, pid: number): Promise<void> {
  await writeKnob(group, 'cgroup.procs', String(pid));
}

/** Limits of a group; what is absent is not written. */
export interface GroupLimits {
  /** Bytes; `max` lifts the limit. */
  memoryMax?: number | 'max';
  memoryHigh?: number | 'max';
  /** Hundredths of one CPU: 150 is one and a half. */
  cpuPercent?: number | 'max';
  pidsMax?: number | 'max';
}

const CPU_PERIOD_US = 100_000;

/** The knob files that realise limits in a hierarchy of this version, in the order to write them. Pure. */
export function knobsFor(version: 1 | 2, limits: GroupLimits): [knob: string, value: string][] {
  const { memoryMax, memoryHigh, cpuPercent, pidsMax } = limits;
  const knobs: [string, string][] = [];
  const bytes = (value: number | 'max') => (value === 'max' && version === 1 ? '-1' : `${value}`);
  if (memoryHigh !== undefined) {
    knobs.push([version === 2 ? 'memory.high' : 'memory.soft_limit_in_bytes', bytes(memoryHigh)]);
  }
  if (memoryMax !== undefined) {
    knobs.push([version === 2 ? 'memory.max' : 'memory.limit_in_bytes', bytes(memoryMax)]);
  }
  if (cpuPercent !== undefined) {
    const quota = cpuPercent === 'max' ? undefined : Math.round((cpuPercent * CPU_PERIOD_US) / 100);
    if (version === 2) knobs.push(['cpu.max', `${quota ?? 'max'} ${CPU_PERIOD_US}`]);
    else knobs.push(['cpu.cfs_quota_us', String(quota ?? -1)]);
  }
  if (pidsMax !== undefined) knobs.push(['pids.max', String(pidsMax)]);
  return knobs;
}
