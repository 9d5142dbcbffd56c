import { declareInt } from './libc.ts';

const prctl = declareInt('prctl', ['int', 'u64', 'u64', 'u64', 'u64']);

/** include/uapi/linux/prctl.h */
const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9;

/** The ids of a user as whom something is done. */
export interface Caller {
  uid: number;
  gid: number;
  /** All supplementary groups. */
  groups: number[];
}

/**
 * Turns this process into one of the caller, for good: groups, gid, uid, no way to more rights, and death together with the
 * parent, unless it has something to finish (`outlives`). Root stays root, without the way to new rights. For the first lines of a child
 * program.
 */
export function becomeCaller(caller: Caller, options: { outlives?: true } = {}): void {
  if (caller.uid !== 0) {
    process.setgroups?.(caller.groups);
    process.setgid?.(caller.gid);
    process.setuid?.(caller.uid);
    if (process.getuid?.() !== caller.uid || process.geteuid?.() !== caller.uid) {
      throw new Error('internal error: the ids of the caller were not taken');
    }
    // Changed ids make /proc/self root's: the walker reaches its own descriptors through it.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, options.outlives ? 0 : SIGKILL, 0, 0, 0);
}
