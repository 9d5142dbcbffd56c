import { readFileSync, readSync } from 'node:fs';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { namesOf } from './files.ts';
import { createMount, MOUNT_ATTR } from './fs-context.ts';
import { declareSyscall } from './libc.ts';
import { callNumbers } from './seccomp-calls.ts';

/**
 * How often processes wait for what they have written to be on a disk (fsync, fdatasync, msync, files opened for synchronous
 * writing): the kernel itself counts it, at a trace point of each file system (perf_event_open(2)). What is written past the page cache
 * (O_DIRECT) waits too, and is not counted.
 */

/** Where those file systems begin to make a file durable, and the number by which statfs(2) knows them (linux/magic.h). */
const counted = [
  { event: 'ext4/ext4_sync_file_enter', magic: 0xef53 },
  { event: 'xfs/xfs_file_fsync', magic: 0x58465342 },
  { event: 'btrfs/btrfs_sync_file', magic: 0x9123683e },
];

/** True for a file system, by the `type` of its statfs(2), that counts. */
export const countsSyncs = (type: number): boolean =>
  counted.some(({ magic }) => magic === type >>> 0);

/** What has more threads is not starting any more. */
const THREADS_MAX = 8;

// linux/perf_event.h: the first version of struct perf_event_attr; u32 type, u32 size, u64 config at 8, bits at 40.
const ATTR_SIZE = 64;
const PERF_TYPE_TRACEPOINT = 2;
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
async function tracePoints(): Promise<number[]> {
  // A mount that is attached nowhere: it is of no matter whether and where the machine shows its own.
  const { readOnly, nosuid, nodev, noexec } = MOUNT_ATTR;
  const tracing = await createMount('tracefs', [], readOnly | nosuid | nodev | noexec);
  try {
    return counted.flatMap(({ event }) => {
      try {
        return Number(readFileSync(`${tracing.path}/events/${event}/id`, 'latin1'));
      } catch (error) {
        if (failedWith(error, 'ENOENT')) return [];
        throw error;
      }
    });
  } finally {
    tracing.close();
  }
}

function attributesOf(tracePoint: number): Buffer {
  const attributes = Buffer.alloc(ATTR_SIZE);
  attributes.writeUInt32LE(PERF_TYPE_TRACEPOINT, 0);
  attributes.writeUInt32LE(ATTR_SIZE, 4);
  attributes.writeBigUInt64LE(BigInt(tracePoint), 8);
  attributes.writeUInt32LE(ATTR_INHERIT, 40);
  return attributes;
}

/** Undefined for a thread that has ended. */
async function countOf(thread: number, tracePoint: number): Promise<Fd | undefined> {
  try {
    const attributes = attributesOf(tracePoint);
    // The first of all waits some 15 ms, until every processor goes through the trace point's new code.
    const fd = await perfEventOpen.later(attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return new Fd(fd, `syncs of ${thread}`);
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

/**
 * Counts for these processes and all that they start from now on. Undefined where nothing can be counted: too many threads, or none of the
 * file systems. Throws KernelError where the kernel does not let us.
 */
export async function countSyncs(pids: readonly number[]): Promise<SyncCount | undefined> {
  const threads = pids.flatMap((pid) => namesOf(`/proc/${pid}/task`, 'folder')).map(Number);
  if (threads.length === 0 || threads.length > THREADS_MAX) return undefined;
  const points = await tracePoints();
  const counts: Fd[] = [];
  const close = async () => {
    await Promise.all(counts.map((count) => count.closeLater()));
  };
  try {
    for (const thread of threads) {
      for (const point of points) {
        const count = await countOf(thread, point);
        if (count !== undefined) counts.push(count);
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  if (counts.length === 0) return undefined;
  return { read: () => counts.reduce((all, count) => all + countIn(count), 0), close };
}
