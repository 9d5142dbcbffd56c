import type { GroupUse } from '../kernel/group-use.ts';

/** What one look at a run tells. */
export interface Look extends GroupUse {
  /** How often it has waited for a write to be on a disk, since that is counted. */
  syncs?: number | undefined;
}

/** What was seen of one run so far: of a fixed size, however long it lasts. Times are milliseconds since boot. */
export interface RunSoFar {
  looks: number;
  firstMs: number;
  lastMs: number;
  /** What was seen last. */
  last: GroupUse;
  peakBytes: number;
  /** Its memory over its time, in byte milliseconds, and the time. */
  memoryTime: number;
  memoryMs: number;
  /** Processor time since the first look. */
  cpuMs: number | undefined;
  /** When it was started, while its start goes on. */
  startingMs: number | undefined;
  /** Since when it is at rest, while it starts. */
  restMs: number | undefined;
  /** How long its start took, and what was read from disks in it. */
  startMs: number | undefined;
  coldBytes: number | undefined;
  /** What it has made to be written to disks, and what was read from there after its start. */
  writtenBytes: number | undefined;
  laterReadBytes: number;
  /** How often it has waited for a write to be on a disk; undefined until that is counted. */
  syncs: number | undefined;
}

/** What one run has come to; absent: it could not be told. */
export interface RunFigures {
  peakBytes?: number;
  typicalBytes?: number;
  processors?: number;
  coldBytes?: number;
  startMs?: number;
  /** How long it was seen, and what it has made disks do meanwhile. */
  ranMs?: number;
  writtenBytes?: number;
  laterReadBytes?: number;
  syncs?: number;
  /** How long the disk that its data lay on takes for one write that waits for it, and for one cold read. */
  syncMs?: number;
  readMs?: number;
}

/** A run is looked at so often while it starts, */
export const startLookMs = 250;
/** and for no longer: what has not come to rest by then has no start that could be told from its work. */
export const startMaxMs = 30_000;
/** It rests while it uses less of one processor than this, and nothing is read from disks for it, */
const REST_SHARE = 0.1;
/** for this long. */
const REST_MS = 2 * startLookMs;
/** What runs for longer when it is first seen was not seen starting. */
const SEEN_LATE_MS = 1_500;
/** Runs that were seen less often say nothing. */
const LOOKS_MIN = 3;

/** A run as it is first seen. Pure. */
export function firstSeen(use: Look, atMs: number): RunSoFar {
  const { memoryBytes = 0, sinceMs, cpuMs, readBytes, writtenBytes } = use;
  const told = sinceMs !== undefined && cpuMs !== undefined && readBytes !== undefined;
  const starts = told && atMs - sinceMs < SEEN_LATE_MS;
  return {
    looks: 1,
    firstMs: atMs,
    lastMs: atMs,
    last: use,
    peakBytes: memoryBytes,
    memoryTime: 0,
    memoryMs: 0,
    cpuMs: cpuMs === undefined ? undefined : 0,
    startingMs: starts ? sinceMs : undefined,
    restMs: undefined,
    startMs: undefined,
    coldBytes: starts ? readBytes : undefined,
    writtenBytes: writtenBytes === undefined ? undefined : starts ? writtenBytes : 0,
    laterReadBytes: 0,
    syncs: use.syncs,
  };
}

/** What a counter has grown by. It goes back with a process that nobody of the group has waited for: that is no growth. */
function grown(
  { last }: RunSoFar,
  use: GroupUse,
  name: 'cpuMs' | 'readBytes' | 'writtenBytes',
): number {
  const [before, now] = [last[name], use[name]];
  return before === undefined || now === undefined ? 0 : Math.max(0, now - before);
}

/** How far its start is after one more look. */
function starting(run: RunSoFar, use: GroupUse, atMs: number): Partial<RunSoFar> {
  const { startingMs, restMs, lastMs } = run;
  if (startingMs === undefined) return {};
  const readBytes = grown(run, use, 'readBytes');
  const coldBytes = (run.coldBytes ?? 0) + readBytes;
  if (atMs - startingMs > startMaxMs) return { startingMs: undefined, coldBytes };
  if (readBytes > 0 || grown(run, use, 'cpuMs') > REST_SHARE * (atMs - lastMs))
    return { restMs: undefined, coldBytes };
  const since = restMs ?? lastMs;
  return atMs - since < REST_MS
    ? { restMs: since }
    : { startingMs: undefined, startMs: Math.max(0, since - startingMs) };
}

/** A run after one more look. Pure. */
export function seenAgain(run: RunSoFar, use: Look, atMs: number): RunSoFar {
  const { memoryBytes = 0 } = use;
  const elapsedMs = use.memoryBytes === undefined ? 0 : atMs - run.lastMs;
  return {
    ...run,
    ...starting(run, use, atMs),
    looks: run.looks + 1,
    lastMs: atMs,
    last: use,
    peakBytes: Math.max(run.peakBytes, memoryBytes),
    memoryTime: run.memoryTime + memoryBytes * elapsedMs,
    memoryMs: run.memoryMs + elapsedMs,
    cpuMs: run.cpuMs === undefined ? undefined : run.cpuMs + grown(run, use, 'cpuMs'),
    writtenBytes:
      run.writtenBytes === undefined
        ? undefined
        : run.writtenBytes + grown(run, use, 'writtenBytes'),
    laterReadBytes:
      run.laterReadBytes + (run.startingMs === undefined ? grown(run, use, 'readBytes') : 0),
    syncs: use.syncs ?? run.syncs,
  };
}

/** What a run has come to so far; undefined when too little was seen of it. Pure. */
export function figuresOf(run: RunSoFar): RunFigures | undefined {
  const { looks, firstMs, lastMs, peakBytes, memoryTime, memoryMs, cpuMs } = run;
  if (looks < LOOKS_MIN || lastMs <= firstMs) return undefined;
  const { coldBytes, startMs, startingMs, writtenBytes, laterReadBytes, syncs } = run;
  return {
    ...(memoryMs > 0 && { peakBytes, typicalBytes: Math.round(memoryTime / memoryMs) }),
    ...(cpuMs !== undefined && { processors: Number((cpuMs / (lastMs - firstMs)).toFixed(3)) }),
    ...(coldBytes !== undefined && startingMs === undefined && { coldBytes }),
    ...(startMs !== undefined && { startMs: Math.round(startMs) }),
    ...(writtenBytes !== undefined && { ranMs: lastMs - firstMs, writtenBytes, laterReadBytes }),
    ...(syncs !== undefined && { ranMs: lastMs - firstMs, syncs }),
  };
}
