import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hangsInExec } from './mid-exec.ts';
import { readStatusField } from './process-status.ts';

/** More numbers than these since the last look: all processes are looked at. */
const FRESH_MAX = 512;

/** Numbers of all processes there are. */
export function processIds(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** The number that a process or thread was given last (proc_loadavg(5)). */
function lastId(): number {
  return Number(/(\d+)\s*$/.exec(readFileSync('/proc/loadavg', 'latin1'))?.[1] ?? 0);
}

/** The process that a number of a process or thread belongs to; undefined when it has ended. */
export function leaderOf(id: number): number | undefined {
  try {
    return Number(readStatusField(id, 'Tgid'));
  } catch {
    return undefined;
  }
}

/** It counts processes as we do: it is in no container, and in no sandbox with processes of its own. */
export function sharesProcessIds(pid: number): boolean {
  if (hangsInExec(pid)) return false;
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`) === readlinkSync('/proc/self/ns/pid');
  } catch {
    return false;
  }
}

/** Tells which numbers were given since it was asked last: one small file where there were none, whatever runs. */
export class FreshIds {
  #last = lastId();

  /** Numbers of processes and threads, some of which have ended. `all`: too many, or they began anew from the lowest. */
  next(): number[] | 'all' {
    const [before, now] = [this.#last, lastId()];
    this.#last = now;
    if (now < before || now - before > FRESH_MAX) return 'all';
    return Array.from({ length: now - before }, (_, at) => before + 1 + at);
  }
}
