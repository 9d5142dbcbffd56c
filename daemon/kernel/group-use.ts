import { readFileSync } from 'node:fs';
import { processesOf } from './cgroups.ts';
import { failedWith } from './errno.ts';
import { readGroupMemory } from './group-memory.ts';
import { hangsInExec } from './mid-exec.ts';

/** What the processes of a group have used. Bytes and milliseconds; absent: it cannot be told. */
export interface GroupUse {
  /** All its memory but page cache that nobody has used for a while. */
  memoryBytes?: number;
  /** Processor time since they began, with that of children they have waited for. */
  cpuMs?: number;
  /** What was read from disks for them, counted the same way. */
  readBytes?: number;
  /** What they have made to be written to disks, counted the same way. */
  writtenBytes?: number;
  /** When the first of them was started: milliseconds since boot. */
  sinceMs?: number;
}

/** A tick of /proc/PID/stat (USER_HZ) is a hundredth of a second on every architecture that Node runs on. */
const TICK_MS = 10;
/** Processes of a group that are counted; of a larger one only its memory is told. */
const PROCESSES_MAX = 256;

interface ProcessUse {
  cpuMs: number;
  sinceMs: number;
  readBytes: number;
  writtenBytes: number;
}

/** Times of a text like /proc/PID/stat: its own, and of children it has waited for. Pure. */
export function parseTimes(stat: string): Pick<ProcessUse, 'cpuMs' | 'sinceMs'> {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((all, field) => all + Number(field), 0);
  return { cpuMs: ticks * TICK_MS, sinceMs: Number(fields[19]) * TICK_MS };
}

/** Bytes that were fetched from disks, and that are to go there, of a text like /proc/PID/io. NaN where it does not say. Pure. */
export function parseDiskUse(io: string): Pick<ProcessUse, 'readBytes' | 'writtenBytes'> {
  const counter = (line: RegExp) => Number(line.exec(io)?.[1] ?? Number.NaN);
  return {
    readBytes: counter(/^read_bytes: (\d+)$/m),
    writtenBytes: counter(/^write_bytes: (\d+)$/m),
  };
}

/** Undefined for one that has ended, or hangs on its way to another program. */
function processUse(pid: number): ProcessUse | undefined {
  if (hangsInExec(pid)) return undefined;
  try {
    return {
      ...parseTimes(readFileSync(`/proc/${pid}/stat`, 'latin1')),
      ...parseDiskUse(readFileSync(`/proc/${pid}/io`, 'latin1')),
    };
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

function usedBy(pids: readonly number[]): Omit<GroupUse, 'memoryBytes'> {
  const all = pids.flatMap((pid) => processUse(pid) ?? []);
  if (all.length === 0 || pids.length > PROCESSES_MAX) return {};
  const sum = (of: (one: ProcessUse) => number) => all.reduce((total, one) => total + of(one), 0);
  const readBytes = sum((one) => one.readBytes);
  const writtenBytes = sum((one) => one.writtenBytes);
  return {
    cpuMs: sum((one) => one.cpuMs),
    sinceMs: Math.min(...all.map((one) => one.sinceMs)),
    ...(Number.isNaN(readBytes) ? {} : { readBytes }),
    ...(Number.isNaN(writtenBytes) ? {} : { writtenBytes }),
  };
}

/**
 * What the group at `folder` uses, and its processes have used: what ended without being waited for by one of them is not in it any more.
 * Undefined when nothing runs in it.
 */
export function readGroupUse(folder: string, version: 1 | 2): GroupUse | undefined {
  const pids = processesOf(folder);
  if (pids.length === 0) return undefined;
  const memory = readGroupMemory(folder, version);
  const { currentBytes = 0, inactiveFileBytes = 0 } = memory ?? {};
  return {
    ...usedBy(pids),
    ...(memory && { memoryBytes: Math.max(0, currentBytes - inactiveFileBytes) }),
  };
}
