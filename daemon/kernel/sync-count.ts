import { readFileSync, readSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { namesOf } from './files.ts';
import { createMount, MOUNT_ATTR } from './fs-context.ts';
import { declareSyscall } from './libc.ts';
import { isMidExec } from './mid-exec.ts';
import { readMountinfo } from './mountinfo.ts';
import { callNumbers } from './seccomp-calls.ts';

/**
 * How often processes wait for what they have written to be on a disk (fsync, fdatasync, msync, files opened for synchronous
 * writing): the kernel itself counts it, at a trace point of each file system (perf_event_open(2)). What is written past the page cache
 * (O_DIRECT) waits too, and is not counted.
 */

/** Where the file systems that tell begin to make a file or a folder durable. */
const tracePoints: Readonly<Record<string, readonly string[]>> = {
  ext4: ['ext4/ext4_sync_file_enter'],
  xfs: ['xfs/xfs_file_fsync', 'xfs/xfs_dir_fsync'],
  btrfs: ['btrfs/btrfs_sync_file'],
};

/** True when what lies at this absolute path is on a file system that tells. It is not asked itself: it may hang. */
export function countsSyncs(path: string, mounts = readMountinfo()): boolean {
  const around = mounts.filter(({ at }) => at === '/' || path === at || path.startsWith(`${at}/`));
  // Of mounts at one place the later one is seen.
  const nearest = around.toReversed().toSorted((a, b) => b.at.length - a.at.length)[0];
  return nearest !== undefined && nearest.type in tracePoints;
}

/** A count is begun in a few milliseconds, unless a program is slow to start or the machine is busy. */
const BEGIN_MS = 2_000;
/** How often is asked whether a program has started. */
const STEP_MS = 2;
/** What has more threads is not starting any more. */
const THREADS_MAX = 16;
/** What starts threads faster than they can be attached to is not counted. One try takes half a millisecond. */
const TRIES = 8;

// linux/perf_event.h: the first version of struct perf_event_attr; u32 type, u32 size, u64 config at 8, bits at 40.
const ATTR_SIZE = 64;
const PERF_TYPE_TRACEPOINT = 2;
const ATTR_DISABLED = 1 << 0;
const ATTR_INHERIT = 1 << 1;
const PERF_FLAG_FD_CLOEXEC = 8;

const perfEventOpen = declareSyscall(
  'perf_event_open',
  callNumbers.perf_event_open[process.arch === 'arm64' ? 1 : 0],
  ['bytes', 'int', 'int', 'int', 'u64'],
);

/** A count that goes on until it is closed. */
export interface SyncCount {
  /** How often they have waited since it began, ended processes included. */
  read(): number;
  close(): Promise<void>;
}

/** Numbers of the trace points that this kernel has: those of a module that is not loaded are not there. */
async function tracePointIds(): Promise<number[]> {
  // A mount that is attached nowhere: it is of no matter whether and where the machine shows its own.
  const { readOnly, nosuid, nodev, noexec } = MOUNT_ATTR;
  const tracing = await createMount('tracefs', [], readOnly | nosuid | nodev | noexec);
  try {
    return Object.values(tracePoints)
      .flat()
      .flatMap((event) => {
        try {
          return Number(readFileSync(`${tracing.path}/events/${event}/id`, 'latin1'));
        } catch (error) {
          if (failedWith(error, 'ENOENT')) return [];
          throw error;
        }
      });
  } finally {
    await tracing.closeLater();
  }
}

/** Opens a count for one thread. Waits while that one becomes another program. */
async function openCount(thread: number, tracePoint: number, flags: number): Promise<Fd> {
  const attributes = Buffer.alloc(ATTR_SIZE);
  attributes.writeUInt32LE(PERF_TYPE_TRACEPOINT, 0);
  attributes.writeUInt32LE(ATTR_SIZE, 4);
  attributes.writeBigUInt64LE(BigInt(tracePoint), 8);
  attributes.writeUInt32LE(flags, 40);
  const fd = await perfEventOpen.later(attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
  return new Fd(fd, `syncs of ${thread}`);
}

/** Counts of nothing, by trace point. */
const held = new Map<number, Promise<Fd>>();

/**
 * Keeps a trace point in use: the kernel changes its own code for the first count at it, and back after the last, which takes 15 and up to
 * 100 ms. A program starts many threads in that time.
 */
async function hold(tracePoint: number): Promise<void> {
  const holding = held.get(tracePoint) ?? openCount(process.pid, tracePoint, ATTR_DISABLED);
  held.set(tracePoint, holding);
  try {
    await holding;
  } catch (error) {
    held.delete(tracePoint);
    throw error;
  }
}

/** Undefined for a thread that has ended. */
async function countOf(thread: number, tracePoint: number): Promise<Fd | undefined> {
  try {
    return await openCount(thread, tracePoint, ATTR_INHERIT);
  } catch (error) {
    if (failedWith(error, 'ESRCH')) return undefined;
    throw error;
  }
}

function countIn(count: Fd): number {
  const value = Buffer.alloc(8);
  readSync(count.number, value, 0, 8, null);
  return Number(value.readBigUInt64LE());
}

/** The threads of each. */
const threadsOf = (pids: readonly number[]): number[][] =>
  pids.map((pid) => {
    try {
      return namesOf(`/proc/${pid}/task`, 'folder').map(Number);
    } catch (error) {
      if (failedWith(error, 'ESRCH')) return [];
      throw error;
    }
  });

const closeAll = async (counts: readonly Fd[]): Promise<void> => {
  await Promise.all(counts.map((count) => count.closeLater()));
};

/** One count for each thread of a process and trace point. Closes all when one fails. */
async function attachTo(threads: readonly number[], points: readonly number[]): Promise<Fd[]> {
  const wanted = threads.flatMap((thread) => points.map((point) => countOf(thread, point)));
  const ends = await Promise.allSettled(wanted);
  const counts = ends.flatMap((end) => (end.status === 'fulfilled' ? (end.value ?? []) : []));
  const failure = ends.find((end) => end.status === 'rejected');
  if (failure === undefined) return counts;
  await closeAll(counts);
  throw failure.reason;
}

/** One process after the other: who begins to hang meanwhile has but one thread, and holds no more threads of the pool than there are points. */
async function attach(processes: readonly number[][], points: readonly number[]): Promise<Fd[]> {
  const counts: Fd[] = [];
  try {
    for (const threads of processes) counts.push(...(await attachTo(threads, points)));
    return counts;
  } catch (error) {
    await closeAll(counts);
    throw error;
  }
}

/** Waits until all of these run a program. False when one is still on its way to it at the end. */
async function runPrograms(threads: readonly number[], endMs: number): Promise<boolean> {
  while (threads.some(isMidExec)) {
    if (performance.now() > endMs) return false;
    await pause(STEP_MS);
  }
  return true;
}

async function counted(
  processes: () => readonly number[],
  endMs: number,
): Promise<SyncCount | undefined> {
  const points = await tracePointIds();
  await Promise.all(points.map(hold));
  for (let tries = 0; tries < TRIES; tries += 1) {
    const found = threadsOf(processes());
    const threads = found.flat();
    if (threads.length === 0 || threads.length > THREADS_MAX) return undefined;
    if (!(await runPrograms(threads, endMs))) return undefined;
    const counts = await attach(found, points);
    // A new one may have been started by one that was not attached to yet: then it is not counted, and all begins anew.
    const missed = threadsOf(processes())
      .flat()
      .some((thread) => !threads.includes(thread));
    if (counts.length > 0 && !missed)
      return {
        read: () => counts.reduce((all, count) => all + countIn(count), 0),
        close: () => closeAll(counts),
      };
    await closeAll(counts);
  }
  return undefined;
}

/** The count that is begun last, and when the one that is begun now has to be over. */
let [turn, dueMs]: [Promise<unknown>, number] = [Promise.resolve(), Number.POSITIVE_INFINITY];

/**
 * Counts for what runs now, by `processes`, and all that it starts later. Undefined where that cannot be told: too many threads,
 * none of the file systems, or a program that is not begun in time. Throws KernelError where the kernel does not let us.
 */
export async function countSyncs(
  processes: () => readonly number[],
  beginMs = BEGIN_MS,
): Promise<SyncCount | undefined> {
  // One after the other, and none behind one that hangs: that one keeps its threads of the pool, and no more are to follow.
  if (performance.now() > dueMs) return undefined;
  const begins = turn.then(async () => {
    dueMs = performance.now() + beginMs;
    try {
      return await counted(processes, dueMs);
    } finally {
      dueMs = Number.POSITIVE_INFINITY;
    }
  });
  turn = begins.catch(() => undefined);
  const late = Symbol();
  const count = await Promise.race([begins, pause(2 * beginMs, late, { ref: false })]);
  if (count !== late) return count;
  void begins.then((begun) => begun?.close()).catch(() => undefined);
  return undefined;
}
