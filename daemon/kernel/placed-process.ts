import { readFileSync } from 'node:fs';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { groupIn, type Hierarchy, moveProcess } from './cgroups.ts';
import { failedWith, KernelError } from './errno.ts';
import { type ProcessId, processStat, statOf } from './processes.ts';

/** A process and whose it is. */
export interface OwnedProcess extends ProcessId {
  uid: number;
}

/** Processes that were forked before their parent was moved: more are left where they are. */
const CHILDREN_MAX = 256;
/** Looks for such processes: a program forks again while it is looked at. */
const LOOKS_MAX = 8;

/** Makes a group with the group above it. */
export async function makeGroups(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
}

/** Removes an empty group. False when processes or other groups are in it. */
export async function dropGroup(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    // ENODEV: it goes just now.
    if (failedWith(error, 'ENOENT', 'ENODEV')) return true;
    if (failedWith(error, 'EBUSY', 'ENOTEMPTY')) return false;
    throw error;
  }
}

/** Names of the groups in a group; none when there is no such group. */
export async function groupsIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((one) => one.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR', 'ENODEV')) return [];
    throw error;
  }
}

/** The group of a process as a folder, or undefined when it has ended. */
export function folderOf(pid: number, hierarchy: Hierarchy): string | undefined {
  try {
    const group = groupIn(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), hierarchy);
    return group === undefined ? undefined : `${hierarchy.at}${group === '/' ? '' : group}`;
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

/** The same as its path below the hierarchy. */
export function groupOf(pid: number, hierarchy: Hierarchy | undefined): string | undefined {
  return hierarchy && folderOf(pid, hierarchy)?.slice(hierarchy.at.length + 1);
}

/** The number still names this very process. */
export const isStill = (process: OwnedProcess): boolean => statOf(process)?.uid === process.uid;

/** False when the process has ended: its number names nobody. */
async function move(folder: string, pid: number): Promise<boolean> {
  try {
    await moveProcess(folder, pid);
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** Moves the process of a number. False when it has ended. */
export type Mover = (pid: number) => Promise<boolean>;

/** Moves one process, asks again who it is, and takes the move back when it is somebody else by now. */
async function moveOne(into: Mover, hierarchy: Hierarchy, process: OwnedProcess) {
  const before = folderOf(process.pid, hierarchy);
  if (before === undefined || !isStill(process) || !(await into(process.pid))) return false;
  if (isStill(process)) return true;
  await move(before, process.pid);
  return false;
}

function childrenOf(pid: number): number[] {
  try {
    // Of a program of one thread, as it is just after its start, these are all.
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** What was forked off before the move, and is where the parent was: of the same user, and not yet moved. */
function strays(process: OwnedProcess, before: string, hierarchy: Hierarchy): OwnedProcess[] {
  const found: OwnedProcess[] = [];
  const seen = new Set([process.pid]);
  for (const parent of seen) {
    for (const pid of childrenOf(parent)) {
      if (seen.size > CHILDREN_MAX) return found;
      seen.add(pid);
      const child = processStat(pid);
      if (child?.uid === process.uid && folderOf(pid, hierarchy) === before) found.push(child);
    }
  }
  return found;
}

/**
 * Puts a process into a group by `first`, and what it has forked meanwhile by `more`. Who it is, is asked again after the move,
 * and the move taken back when the number names another process or another user by then. False when it was not put there.
 */
export async function placeBy(
  { first, more }: { first: Mover; more: Mover },
  hierarchy: Hierarchy,
  process: OwnedProcess,
): Promise<boolean> {
  const before = folderOf(process.pid, hierarchy);
  if (before === undefined || !(await moveOne(first, hierarchy, process))) return false;
  for (let look = 0; look < LOOKS_MAX; look += 1) {
    const left = strays(process, before, hierarchy);
    if (left.length === 0) break;
    for (const child of left) await moveOne(more, hierarchy, child);
  }
  return true;
}

/** The same for a group that this daemon has made. */
export function placeProcess(
  folder: string,
  hierarchy: Hierarchy,
  process: OwnedProcess,
): Promise<boolean> {
  const into: Mover = (pid) => move(folder, pid);
  return placeBy({ first: into, more: into }, hierarchy, process);
}
