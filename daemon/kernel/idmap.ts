import { openSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { KernelError } from './errno.ts';
import { startProgram } from './exec.ts';
import { Fd } from './fd.ts';

/** How long the namespace's first process may take to start. */
const START_MS = 10_000;
/** Its life at the longest: it exists only until its namespace is held by a descriptor. */
const LIFE_MS = 30_000;

/** Ids 0..count-1 inside become `first`..`first+count-1` outside, for users and groups alike. */
export interface IdRange {
  first: number;
  count: number;
}

async function untilApart(pid: number): Promise<void> {
  const own = readlinkSync('/proc/self/ns/user');
  const end = performance.now() + START_MS;
  while (performance.now() < end) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/user`) !== own) return;
    } catch (error) {
      throw new KernelError('unshare', 'ESRCH', `user namespace: ${(error as Error).message}`);
    }
    await pause(1);
  }
  throw new KernelError('unshare', 'ETIMEDOUT', 'user namespace');
}

/**
 * Makes a user namespace with this range and returns a descriptor that keeps it: for idmapped mounts and for programs
 * that shall be root inside it. No process stays. Takes a few milliseconds (one short-lived child); keep the result.
 */
export async function createUserNamespace(range: IdRange): Promise<Fd> {
  const child = await startProgram(
    { file: '/usr/bin/unshare', args: ['--user', '/usr/bin/cat'], deadlineMs: LIFE_MS },
    { input: true },
  );
  try {
    await untilApart(child.pid);
    const map = `0 ${range.first} ${range.count}\n`;
    writeFileSync(`/proc/${child.pid}/uid_map`, map);
    writeFileSync(`/proc/${child.pid}/gid_map`, map);
    return new Fd(openSync(`/proc/${child.pid}/ns/user`, 'r'), `user namespace ${range.first}`);
  } finally {
    child.stdin?.end();
    await child.done.catch(() => child.kill());
  }
}
