import { readFileSync } from 'node:fs';
import { KernelError } from './errno.ts';

// Who looks at a process that is about to become another program waits until it is that (exec_update_lock in fs/exec.c), and nothing
// but SIGKILL ends the wait. Before Linux 6.18 that holds for maps and counters only, from then on for its state and links as well. On
// the way there its files that are not passed on are closed, which the server of a FUSE file system may never answer: anybody can make
// such a process.

/** A program is on its way for less than a millisecond, unless the machine is busy. */
const WAIT_MS = 10;
const STEP_MS = 1;
/** After a wait in vain nobody is waited for: many who hang take no more than a twentieth of all time. */
const IMPATIENT_MS = 200;

const nothing = new Int32Array(new SharedArrayBuffer(4));
let impatientUntil = 0;

/** It has memory, and no program in it yet: so much the kernel tells without a wait (proc_pid_statm(5)). */
export function isMidExec(pid: number): boolean {
  try {
    const [size, , , text] = readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ');
    return size !== '0' && text === '0';
  } catch {
    return false; // It has ended.
  }
}

/**
 * True when a process or thread stays on its way to another program, so that whatever looks at it would stay too; to be asked just before. Who makes
 * every effort is not seen: he begins to hang in between, or before the old memory is left, which another process keeps locked. Then a service manager
 * misses our sign of life.
 */
export function hangsInExec(pid: number): boolean {
  const end = performance.now() + WAIT_MS;
  while (isMidExec(pid)) {
    const now = performance.now();
    if (now < impatientUntil) return true;
    if (now > end) {
      impatientUntil = now + IMPATIENT_MS;
      return true;
    }
    Atomics.wait(nothing, 0, 0, STEP_MS);
  }
  return false;
}

/** Throws ETIMEDOUT for such a process: what there is to know of it could not be told. */
export function throwIfHangs(pid: number): void {
  if (hangsInExec(pid)) throw new KernelError('look at process', 'ETIMEDOUT', `${pid}`);
}
