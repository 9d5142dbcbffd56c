import type { Log } from '../changes/log.ts';
import { diskUsageOf } from '../kernel/disk-usage.ts';
import type { Store } from '../store/store.ts';
import { allRates, type DiskLook, type DiskNow, isBusy, lookAtDisks } from './disks.ts';
import { addSample, type HistoryRow, historySteps, meansOf, type Sample } from './history.ts';
import { openRows, writeHistory } from './history-rows.ts';
import { type Observation, type Side, waiting } from './observation.ts';

/** What is over is written this often: one small transaction, which may ride on another. */
const writeEveryMs = 60_000;
/** Space, and disks, are looked at this often; */
const disksEveryMs = 10_000;
/** disks this often while one is busy, where a glance is due anyway; */
const busyEveryMs = 1000;
/** and this often at most, whoever asks: of less time rates say little. */
const askedEveryMs = 500;
/** What was not looked at for longer, because the machine slept, is not known. */
const weightMsMax = 20_000;

/** What of the newest ring stays at hand, for a line on a page: five minutes. */
const recentRows = 30;
const [{ ms: recentMs }] = historySteps;

/** What the recorder works with. */
export interface RecorderParts {
  /** Absent: nothing is kept beyond this process. */
  store: Store | undefined;
  /** The folder whose file system's space is watched. */
  folder: string;
  /** Where the kernel shows disks, when not where it does. */
  block?: string;
  log: Log;
  wallMs(): number;
}

/** Keeps what was seen for plots: a bounded ring for each resolution. */
export class Recorder {
  readonly #parts: RecorderParts;
  #open: HistoryRow[] = [];
  #over: HistoryRow[] = [];
  #recent: readonly HistoryRow[] = [];
  /** CLOCK_BOOTTIME: the other clock may be set back by years. */
  #writtenMs: number | undefined;
  #spaceMs = Number.NEGATIVE_INFINITY;
  #asksForSpace = false;
  #freeBytes: number | undefined;
  #disks: DiskLook | undefined;

  constructor(parts: RecorderParts) {
    this.#parts = parts;
  }

  /** Goes on with the rows that the daemon before has left open. */
  async start(): Promise<void> {
    const { store, wallMs } = this.#parts;
    if (store !== undefined) this.#open = await openRows(store, wallMs());
  }

  /** The last look at the disks. */
  get disks(): DiskLook | undefined {
    return this.#disks;
  }

  /** Free bytes of the watched file system, as they last were. */
  get freeBytes(): number | undefined {
    return this.#freeBytes;
  }

  add(before: Observation | undefined, now: Observation): void {
    this.#keep(sampleOf(before, now), before?.atMs, now.atMs);
  }

  /** Looks at disks when it is time or somebody asks, and at space. */
  lookAtDisks(atMs: number, asked = false): void {
    const before = this.#disks;
    const busy = before?.disks.some(isBusy) ?? false;
    const everyMs = asked ? askedEveryMs : busy ? busyEveryMs : disksEveryMs;
    if (before !== undefined && atMs - before.atMs < everyMs) return;
    const now = lookAtDisks(before, atMs, this.#parts.block);
    this.#disks = now;
    this.#lookAtSpace(atMs);
    const space = this.#freeBytes === undefined ? {} : { freeSpaceBytes: this.#freeBytes };
    this.#keep({ ...diskSample(now.disks), ...space }, before?.atMs, atMs);
  }

  /** A look stands for the time since the one before: quiet times are looked at less often. */
  #keep(sample: Sample, beforeMs: number | undefined, atMs: number): void {
    const weight = Math.min(weightMsMax, Math.max(1, atMs - (beforeMs ?? atMs)));
    const { open, over } = addSample(this.#open, sample, weight, this.#parts.wallMs());
    this.#open = open;
    this.#over.push(...over);
    const short = over.filter(({ stepMs }) => stepMs === recentMs);
    this.#recent = [...this.#recent, ...short].slice(-recentRows);
    this.#writtenMs ??= atMs;
    if (atMs - this.#writtenMs < writeEveryMs) return;
    this.#writtenMs = atMs;
    void this.#write(this.#over);
  }

  /** One at a time: of a file system that does not answer each would keep a thread. */
  #lookAtSpace(atMs: number): void {
    if (this.#asksForSpace || atMs - this.#spaceMs < disksEveryMs) return;
    this.#asksForSpace = true;
    this.#spaceMs = atMs;
    const told = (availableBytes: number | undefined) => {
      this.#freeBytes = availableBytes;
      this.#asksForSpace = false;
    };
    diskUsageOf(this.#parts.folder).then(
      ({ availableBytes }) => told(availableBytes),
      () => told(undefined),
    );
  }

  /** Rows that are still in memory only: newer than those of the store, with the same places. */
  pending(stepMs: number): HistoryRow[] {
    return [...this.#over, ...this.#open].filter((row) => row.stepMs === stepMs);
  }

  /** Which part of the memory was in use in the last minutes, the oldest first; undefined where nobody looked. Since this process began. */
  recentUse(): { stepMs: number; used: (number | undefined)[] } {
    const open = this.#open.filter(({ stepMs }) => stepMs === recentMs);
    // Disks alone may have been looked at.
    const rows = [...this.#recent, ...open].filter((row) => usedIn(row) !== undefined);
    const last = rows.at(-1)?.atMs ?? 0;
    const least = last - (recentRows - 1) * recentMs;
    // The clock may have been set: what is not of the last minutes by it now is left out.
    const found = new Map(rows.map((row) => [row.atMs, usedIn(row)]));
    const first = Math.min(last, ...[...found.keys()].filter((atMs) => atMs >= least));
    const count = rows.length === 0 ? 0 : (last - first) / recentMs + 1;
    return {
      stepMs: recentMs,
      used: Array.from({ length: count }, (_, at) => found.get(first + at * recentMs)),
    };
  }

  #write(rows: readonly HistoryRow[]): Promise<void> {
    this.#over = [];
    const { store, log } = this.#parts;
    if (store === undefined) return Promise.resolve();
    return writeHistory(store, rows).catch((err: unknown) => {
      log.warn({ err }, 'cannot write what was seen of memory and disks, going on without');
    });
  }

  /** Writes what is left, also rows whose time is not over. */
  async stop(): Promise<void> {
    await this.#write([...this.#over, ...this.#open]);
  }
}

function usedIn(row: HistoryRow): number | undefined {
  const { totalBytes, availableBytes } = meansOf(row);
  if (totalBytes === undefined || availableBytes === undefined || totalBytes <= 0) return undefined;
  return Math.min(1, Math.max(0, 1 - availableBytes / totalBytes));
}

/** What a look at disks adds to the history. Pure. */
function diskSample(disks: readonly DiskNow[]): Sample {
  const all = allRates(disks);
  if (all === undefined) return {};
  const told = disks.flatMap(({ name, rates }) => (rates ? [[name, rates] as const] : []));
  return {
    readBytesPerSecond: all.readBytesPerSecond,
    writtenBytesPerSecond: all.writtenBytesPerSecond,
    diskRequestsPerSecond: all.requestsPerSecond,
    diskInFlight: all.inFlight,
    ...(all.latencyMs === undefined ? {} : { diskLatencyMs: all.latencyMs }),
    disks: Object.fromEntries(told),
  };
}

/** What a look adds to the history. Waiting needs the look before. Pure. */
export function sampleOf(before: Observation | undefined, now: Observation): Sample {
  const { user, system } = now.sides;
  const host = hostWaiting(before, now);
  const some = { user: waiting(before, now, 'user'), system: waiting(before, now, 'system') };
  const io = (side: Side) => waiting(before, now, side, 'ioPressure')?.some;
  const [userIo, systemIo] = [io('user'), io('system')];
  return {
    availableBytes: now.availableBytes,
    totalBytes: now.totalBytes,
    swapUsedBytes: now.swapTotalBytes - now.swapFreeBytes,
    ...(user && { userBytes: user.currentBytes }),
    ...(system && { systemBytes: system.currentBytes }),
    ...(host === undefined ? {} : { waiting: host }),
    ...(some.user && { userWaiting: some.user.some }),
    ...(some.system && { systemWaiting: some.system.some }),
    ...(userIo === undefined ? {} : { userIoWaiting: userIo }),
    ...(systemIo === undefined ? {} : { systemIoWaiting: systemIo }),
  };
}

/** The share of the time between two looks in which some task of the machine waited for memory. Pure. */
export function hostWaiting(before: Observation | undefined, now: Observation): number | undefined {
  if (before?.pressure === undefined || now.pressure === undefined) return undefined;
  const us = (now.atMs - before.atMs) * 1000;
  const some = now.pressure.someUs - before.pressure.someUs;
  return us > 0 && some >= 0 ? Math.min(1, some / us) : undefined;
}
