import type { Log } from '../changes/log.ts';
import { diskUsageOf } from '../kernel/disk-usage.ts';
import type { Store } from '../store/store.ts';
import { allRates, type DiskLook, lookAtDisks } from './disks.ts';
import { addSample, type HistoryRow, historySteps, meansOf, type Sample } from './history.ts';
import { openRows, writeHistory } from './history-rows.ts';
import { type Observation, waiting } from './observation.ts';

/** What is over is written this often: one small transaction, which may ride on another. */
const writeEveryMs = 60_000;
/** Disks and space are looked at this often, however often memory is. */
const disksEveryMs = 10_000;
const spaceEveryMs = 60_000;
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
    const fresh = this.#lookFurther(now.atMs);
    const all = fresh ? allRates(this.#disks?.disks ?? []) : undefined;
    const sample: Sample = {
      ...sampleOf(before, now),
      ...(all && {
        readBytesPerSecond: all.readBytesPerSecond,
        writtenBytesPerSecond: all.writtenBytesPerSecond,
        diskInFlight: all.inFlight,
        ...(all.latencyMs === undefined ? {} : { diskLatencyMs: all.latencyMs }),
      }),
      ...(this.#freeBytes === undefined ? {} : { freeSpaceBytes: this.#freeBytes }),
    };
    // A look stands for the time since the one before: quiet times are looked at less often.
    const weight = Math.min(weightMsMax, Math.max(1, now.atMs - (before?.atMs ?? now.atMs)));
    const { open, over } = addSample(this.#open, sample, weight, this.#parts.wallMs());
    this.#open = open;
    this.#over.push(...over);
    const short = over.filter(({ stepMs }) => stepMs === recentMs);
    this.#recent = [...this.#recent, ...short].slice(-recentRows);
    this.#writtenMs ??= now.atMs;
    if (now.atMs - this.#writtenMs < writeEveryMs) return;
    this.#writtenMs = now.atMs;
    void this.#write(this.#over);
  }

  /** Looks at disks and space when it is time. True: the rates of the disks are new. */
  #lookFurther(atMs: number): boolean {
    const { folder } = this.#parts;
    if (atMs - this.#spaceMs >= spaceEveryMs) {
      this.#spaceMs = atMs;
      diskUsageOf(folder).then(
        ({ availableBytes }) => {
          this.#freeBytes = availableBytes;
        },
        () => {
          this.#freeBytes = undefined;
        },
      );
    }
    if (this.#disks !== undefined && atMs - this.#disks.atMs < disksEveryMs) return false;
    this.#disks = lookAtDisks(this.#disks, atMs);
    return true;
  }

  /** Rows that are still in memory only: newer than those of the store, with the same places. */
  pending(stepMs: number): HistoryRow[] {
    return [...this.#over, ...this.#open].filter((row) => row.stepMs === stepMs);
  }

  /** Which part of the memory was in use in the last minutes, the oldest first; undefined where nobody looked. Since this process began. */
  recentUse(): { stepMs: number; used: (number | undefined)[] } {
    const rows = [...this.#recent, ...this.#open.filter(({ stepMs }) => stepMs === recentMs)];
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

/** What a look adds to the history. Waiting needs the look before. Pure. */
export function sampleOf(before: Observation | undefined, now: Observation): Sample {
  const { user, system } = now.sides;
  const host = hostWaiting(before, now);
  const some = { user: waiting(before, now, 'user'), system: waiting(before, now, 'system') };
  return {
    availableBytes: now.availableBytes,
    totalBytes: now.totalBytes,
    swapUsedBytes: now.swapTotalBytes - now.swapFreeBytes,
    ...(user && { userBytes: user.currentBytes }),
    ...(system && { systemBytes: system.currentBytes }),
    ...(host === undefined ? {} : { waiting: host }),
    ...(some.user && { userWaiting: some.user.some }),
    ...(some.system && { systemWaiting: some.system.some }),
  };
}

/** The share of the time between two looks in which some task of the machine waited for memory. Pure. */
export function hostWaiting(before: Observation | undefined, now: Observation): number | undefined {
  if (before?.pressure === undefined || now.pressure === undefined) return undefined;
  const us = (now.atMs - before.atMs) * 1000;
  const some = now.pressure.someUs - before.pressure.someUs;
  return us > 0 && some >= 0 ? Math.min(1, some / us) : undefined;
}
