import type { GroupMemory } from '../kernel/group-memory.ts';

/** The two shares of the machine. Each is one cgroup with all below it. */
export type Side = 'user' | 'system';

/** In the order in which rules speak of them. */
export const sides: readonly Side[] = ['user', 'system'];

/** The side that gives when this one needs. */
export const otherSide = (side: Side): Side => (side === 'user' ? 'system' : 'user');

/** A memory knob's value: bytes, or no limit. */
export type Amount = number | 'max';

/** Time lost waiting for memory since the group was made or the machine started, in microseconds. Only differences count. */
export interface LostTime {
  /** Some task waited. */
  someUs: number;
  /** All tasks waited; absent where the kernel does not tell. */
  fullUs?: number;
}

/** What one tick saw of one side. What a kernel lacks is absent, never zero. */
export interface SideObservation extends GroupMemory {
  /** Marks the very group: another group of the same path has another mark. Counters are compared within one mark only. */
  group: string;
  pressure?: LostTime;
  /** The same of time lost waiting for disks. */
  ioPressure?: LostTime;
  /** The knobs as they were read, whoever wrote them. */
  low?: Amount;
  high?: Amount;
  /** The limit is a hard one: whoever outgrows it is ended. */
  hard?: boolean;
}

/** What one tick saw. All sizes in bytes. */
export interface Observation {
  /** CLOCK_BOOTTIME, in milliseconds: it goes on while the machine sleeps. */
  atMs: number;
  totalBytes: number;
  /** What could be had without swapping, as the kernel estimates. */
  availableBytes: number;
  /** Zero without swap. */
  swapTotalBytes: number;
  swapFreeBytes: number;
  /** Of the whole machine. */
  pressure?: LostTime;
  /** A side is absent when its group is not there. */
  sides: Partial<Record<Side, SideObservation>>;
}

/** The share of the time between two looks in which tasks of a side waited, 0 to 1. */
export interface Waiting {
  some: number;
  full: number;
}

/**
 * How a side waited between two looks: for memory, unless it is asked for disks. Undefined where that cannot be told: no earlier look, no pressure files,
 * another group under the same path, no time between, a counter that went backwards.
 */
export function waiting(
  before: Observation | undefined,
  now: Observation,
  side: Side,
  what: 'pressure' | 'ioPressure' = 'pressure',
): Waiting | undefined {
  const [then, here] = [before?.sides[side], now.sides[side]];
  const [was, is] = [then?.[what], here?.[what]];
  if (before === undefined || was === undefined || is === undefined) return undefined;
  if (then?.group !== here?.group) return undefined;
  const us = (now.atMs - before.atMs) * 1000;
  const some = is.someUs - was.someUs;
  const full = (is.fullUs ?? 0) - (was.fullUs ?? 0);
  if (us <= 0 || some < 0 || full < 0) return undefined;
  return { some: Math.min(1, some / us), full: Math.min(1, full / us) };
}

/**
 * Memory of a side that cannot be taken from it: what is neither page cache nor can go to swap. tmpfs counts as
 * process memory. Without memory.stat all of it, which makes every floor safe.
 */
export function unreclaimableBytes(side: SideObservation, swapFreeBytes: number): number {
  const { currentBytes, fileBytes, shmemBytes = 0, anonBytes } = side;
  if (fileBytes === undefined || anonBytes === undefined) return currentBytes;
  const cache = Math.max(0, fileBytes - shmemBytes);
  const swappable = Math.min(swapFreeBytes, anonBytes + shmemBytes);
  return Math.max(0, currentBytes - cache - swappable);
}
