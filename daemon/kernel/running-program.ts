import { readlinkSync } from 'node:fs';
import { hangsInExec } from './mid-exec.ts';
import { processStat } from './processes.ts';
import { statProcLink } from './stat-mount.ts';

/** The program that a process runs, and whose process it is. */
export interface RunningProgram {
  pid: number;
  startTime: number;
  uid: number;
  path: string;
  /** Numbers of the kernel, as text: the largest of them are too large for a number here. */
  device: string;
  inode: string;
}

/** `major:minor` as the C library packs it into one number. Pure. */
export function deviceNumber(device: string): bigint {
  const [major = 0n, minor = 0n] = device.split(':').map(BigInt);
  return (
    ((major & 0xfffff000n) << 32n) |
    ((major & 0xfffn) << 8n) |
    ((minor & 0xffffff00n) << 12n) |
    (minor & 0xffn)
  );
}

/** The numbers of the file that a process or thread runs, asking no file system; undefined when it has ended, or has no program yet. */
export function runningFile(pid: number): Pick<RunningProgram, 'device' | 'inode'> | undefined {
  if (hangsInExec(pid)) return undefined;
  const file = statProcLink(`/proc/${pid}/exe`);
  return file && { device: `${deviceNumber(file.device)}`, inode: `${file.inode}` };
}

/** What a process runs now, asking no file system; undefined when it has ended, or has no program yet. */
export function runningProgram(pid: number): RunningProgram | undefined {
  const file = runningFile(pid);
  const stat = file && processStat(pid);
  if (stat === undefined) return undefined;
  try {
    const { startTime, uid } = stat;
    return { pid, startTime, uid, path: readlinkSync(`/proc/${pid}/exe`), ...file! };
  } catch {
    return undefined;
  }
}
