import type { Log } from '../changes/log.ts';
import { failedWith } from '../kernel/errno.ts';
import type { GroupUse } from '../kernel/group-use.ts';
import type { SyncCount } from '../kernel/sync-count.ts';
import type { Profile } from './application.ts';
import {
  figuresOf,
  firstSeen,
  type RunFigures,
  type RunSoFar,
  seenAgain,
  startLookMs,
} from './run-figures.ts';
import type { RunningApplication } from './running.ts';

/** How much is measured at once. */
export const measuringLimits = {
  allMax: 256,
  perUserMax: 64,
  /** Runs that are looked at in one turn: the others have theirs in the next one. */
  perTurnMax: 32,
  /** Runs of which it is counted how often they wait for the disk: each count has up to 64 descriptors. */
  countedMax: 64,
  countedPerUserMax: 16,
};

/** What has started is looked at each second; the longer it lasts, the less often. */
const lookEveryMs = (ageMs: number): number => Math.min(Math.max(ageMs / 10, 1_000), 30_000);
/** What it has come to is written down when its start is over, and then so often: a run may last for weeks. */
const learnEveryMs = 10 * 60_000;

/** The kernel, or who guards it, lets nobody count: it is not asked again. */
const REFUSED = ['EPERM', 'EACCES', 'ENOSYS', 'ENODEV', 'EOPNOTSUPP'];

/** What runs are measured with. */
export interface MeasuringParts {
  /** What a group uses; undefined when nothing runs in it. */
  use(group: string): GroupUse | undefined;
  /** Begins to count how often what runs in a group waits for the disk; undefined where that cannot be told. */
  count(group: string): Promise<SyncCount | undefined>;
  /** Takes what a run has come to so far, or, when it has `ended`, in all. */
  learn(
    account: number,
    app: string,
    run: RunFigures & { sinceMs: number },
    of: { profile: Profile; ended: boolean },
  ): Promise<void>;
  /** Milliseconds since boot. */
  nowMs(): number;
  log: Log;
  limits?: Partial<typeof measuringLimits>;
}

/** A run that is measured. */
interface Measured {
  one: RunningApplication;
  run: RunSoFar | undefined;
  count: SyncCount | undefined;
  dueMs: number;
  learnMs: number;
}

/**
 * Runs of applications, measured while they last. Nothing is looked at while nothing runs; what has started is looked at in the turns of
 * who looks at the machine anyway (`look`).
 */
export class Measuring {
  readonly #parts: MeasuringParts;
  readonly #limits: typeof measuringLimits;
  readonly #runs = new Map<string, Measured>();
  readonly #learning = new Set<Promise<void>>();
  /** Counts that are open or about to be, by user. */
  readonly #counted = new Map<number, number>();
  #cannotCount = false;
  /** Counts that begin or end. */
  readonly #counting = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: MeasuringParts) {
    this.#parts = parts;
    this.#limits = { ...measuringLimits, ...parts.limits };
  }

  /** Runs that are measured now. */
  get count(): number {
    return this.#runs.size;
  }

  /** An application runs. Measured is only one that is known by its file: what goes by a name may be anything. */
  began(one: RunningApplication): void {
    if (this.#closed || one.recognised !== true || this.#runs.has(one.group)) return;
    const mine = [...this.#runs.values()].filter((run) => run.one.account === one.account);
    if (this.#runs.size >= this.#limits.allMax || mine.length >= this.#limits.perUserMax) return;
    const nowMs = this.#parts.nowMs();
    const measured = { one, run: undefined, count: undefined, dueMs: nowMs, learnMs: nowMs };
    this.#runs.set(one.group, measured);
    this.#lookAt(measured, nowMs);
    this.#wait();
  }

  /** Nothing runs in this group any more. */
  ended(group: string): void {
    const measured = this.#runs.get(group);
    if (measured === undefined) return;
    const { run, count } = measured;
    // Its last waits are counted, too: a program that saves at its end has only those.
    if (run !== undefined && count !== undefined)
      measured.run = { ...run, syncs: this.#read(count) ?? run.syncs };
    this.#learn(measured, true);
    this.#forget(measured);
  }

  /** Looks at those that are due. Returns at once when there are none. */
  look(): void {
    if (this.#runs.size === 0) return;
    const nowMs = this.#parts.nowMs();
    const due = [...this.#runs.values()].filter(({ dueMs }) => dueMs <= nowMs);
    due.sort((a, b) => a.dueMs - b.dueMs);
    for (const measured of due.slice(0, this.#limits.perTurnMax)) this.#lookAt(measured, nowMs);
  }

  /** Looks at all for the last time, and writes down what they have come to. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const measured of [...this.#runs.values()]) {
      this.#lookAt(measured, this.#parts.nowMs());
      this.#learn(measured);
    }
    for (const measured of [...this.#runs.values()]) this.#forget(measured);
    await Promise.all(this.#learning);
    await Promise.all(this.#counting);
  }

  #forget(measured: Measured): void {
    const { one, count } = measured;
    this.#runs.delete(one.group);
    measured.count = undefined;
    if (count !== undefined) this.#await(this.#endCount(one.account, count));
  }

  /** What `close` waits for. */
  #await(work: Promise<void>): void {
    this.#counting.add(work);
    void work.finally(() => this.#counting.delete(work));
  }

  #read(count: SyncCount): number | undefined {
    try {
      return count.read();
    } catch (err) {
      this.#parts.log.warn({ err }, 'cannot read a count, ignoring');
      return undefined;
    }
  }

  /** Counts that are open or about to be: of one user, or of all. */
  #counts(account?: number): number {
    if (account !== undefined) return this.#counted.get(account) ?? 0;
    return [...this.#counted.values()].reduce((all, one) => all + one, 0);
  }

  #change(account: number, by: 1 | -1): void {
    const count = this.#counts(account) + by;
    if (count === 0) this.#counted.delete(account);
    else this.#counted.set(account, count);
  }

  #beginCount(measured: Measured): void {
    const { group, account, profile } = measured.one;
    const { countedMax, countedPerUserMax } = this.#limits;
    // What works in memory waits for nothing, which says nothing of it.
    if (this.#cannotCount || profile === 'fast') return;
    if (this.#counts() >= countedMax || this.#counts(account) >= countedPerUserMax) return;
    this.#change(account, 1);
    const begins = this.#count(group).then(async (count) => {
      if (count === undefined) this.#change(account, -1);
      else if (this.#runs.get(group) === measured) measured.count = count;
      else await this.#endCount(account, count);
    });
    this.#await(begins);
  }

  async #count(group: string): Promise<SyncCount | undefined> {
    try {
      return await this.#parts.count(group);
    } catch (err) {
      if (failedWith(err, ...REFUSED) && !this.#cannotCount) {
        this.#cannotCount = true;
        this.#parts.log.warn({ err }, 'cannot count how often applications wait for the disk');
      }
      return undefined;
    }
  }

  async #endCount(account: number, count: SyncCount): Promise<void> {
    await count.close().catch((err) => this.#parts.log.warn({ err }, 'cannot end a count'));
    this.#change(account, -1);
  }

  #lookAt(measured: Measured, nowMs: number): void {
    const { one, run } = measured;
    try {
      const inGroup = this.#parts.use(one.group);
      // Who keeps the groups tells of its end.
      if (inGroup !== undefined) {
        const use = { ...inGroup, syncs: measured.count && this.#read(measured.count) };
        if (run === undefined) this.#beginCount(measured);
        measured.run = run === undefined ? firstSeen(use, nowMs) : seenAgain(run, use, nowMs);
      }
    } catch (err) {
      this.#forget(measured);
      this.#parts.log.warn({ err, group: one.group }, 'cannot measure an application, ignoring');
    }
    const { startingMs, firstMs = nowMs } = measured.run ?? {};
    const starts = startingMs !== undefined;
    // A timer may come a little early.
    measured.dueMs = nowMs + (starts ? 0.8 * startLookMs : lookEveryMs(nowMs - firstMs));
    if (!starts && nowMs >= measured.learnMs) this.#learn(measured);
  }

  #learn(measured: Measured, ended = false): void {
    const { one, run } = measured;
    const figures = run && figuresOf(run);
    if (run === undefined || figures === undefined) return;
    measured.learnMs = run.lastMs + learnEveryMs;
    const { account, app, sinceMs, profile } = one;
    const learning = this.#parts
      .learn(account, app, { ...figures, sinceMs }, { profile, ended })
      .catch((err) => {
        this.#parts.log.warn({ err, app }, 'cannot keep what was measured of an application');
      });
    this.#learning.add(learning);
    void learning.finally(() => this.#learning.delete(learning));
  }

  /** What starts is looked at more often than the machine. */
  #wait(): void {
    if (this.#closed || this.#timer !== undefined) return;
    if (![...this.#runs.values()].some(({ run }) => run?.startingMs !== undefined)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.look();
      this.#wait();
    }, startLookMs).unref();
  }
}
