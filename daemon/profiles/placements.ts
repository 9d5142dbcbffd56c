import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import type { Log } from '../changes/log.ts';
import { processesOf, readKnob } from '../kernel/cgroups.ts';
import { boottimeMs } from '../kernel/clock.ts';
import { type PathWatch, watchPath } from '../kernel/path-watch.ts';
import type { OwnedProcess } from '../kernel/placed-process.ts';
import { type ProcessId, processStat } from '../kernel/processes.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import type { LaunchGroups } from './launch-groups.ts';
import type { Running, RunningApplication } from './running.ts';
import { readStart, writeStart } from './start-mark.ts';

/** What launches may take at most. */
export const placementLimits: Readonly<
  Record<'perUserMax' | 'allMax' | 'waitingMax' | 'sweepMs', number>
> = {
  /** Groups of one user that are not empty yet: more than anybody starts by hand. */
  perUserMax: 1024,
  allMax: 4096,
  /** Launches that wait to be put into their group: each takes some milliseconds at most. */
  waitingMax: 1024,
  /** How often groups are looked at that may have become empty. */
  sweepMs: 5000,
};

/** Empty groups that are not removed in this time are left to the next daemon. */
const closeMs = 2000;
const clearEveryMs = 20;

/** Where programs are put. */
export interface PlacementParts {
  groups: LaunchGroups;
  /** The user a uid counts to. */
  accountOf(uid: number): number;
  running: Running;
  /** What was started apart, whichever daemon did. */
  apart?(): readonly ProcessId[];
  now(): number;
  log: Log;
  limits?: Partial<typeof placementLimits>;
}

/** Who is to be placed. Who was only connected has no start time: the kernel does not say it. */
type Caller = Pick<OwnedProcess, 'pid' | 'uid'> & { startTime?: number };

/** A program that starts: what its group is to have, and what it is known to run as. */
export interface Start
  extends Pick<RunningApplication, 'app' | 'profile' | 'rule' | 'reason' | 'recognised'> {
  weights: Weights;
  /** Absent: it was started through the daemon. */
  by?: RunningApplication['by'];
}

/** What becomes of one launch. */
export type Placement = { state: 'follows'; group: string } | { state: 'none'; reason: string };

/** Of a group that says no more than whose it is. */
const forgotten = (app: string, sinceMs: number) => ({
  app,
  profile: 'standard' as const,
  rule: 'unknown',
  reason: 'it was started before this daemon was',
  sinceMs,
  by: 'launch' as const,
});

/**
 * A group for every launch. It outlives the daemon as the program does, and goes when it is empty. Only who is connected is
 * put there, and only below what belongs to its user (SECURITY 18).
 */
export class Placements {
  readonly #parts: PlacementParts;
  readonly #limits: typeof placementLimits;
  /** Groups of ours, and the user each counts to. */
  #groups = new Map<string, number>();
  /** Those of them that are not made yet: nothing is to be removed, and nothing missing. */
  #coming = new Set<string>();
  #watches = new Map<string, PathWatch | undefined>();
  /** Processes on their way. */
  #placing = new Set<number>();
  #running: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #saidProblem = false;

  constructor(parts: PlacementParts) {
    this.#parts = parts;
    this.#limits = { ...placementLimits, ...parts.limits };
  }

  /** Why nothing can be put anywhere, or undefined. */
  get obstacle(): string | undefined {
    return this.#parts.groups.obstacle();
  }

  /** Groups that are not known to be empty. */
  get count(): number {
    return this.#groups.size;
  }

  /** Takes up the groups that an earlier daemon has made. */
  async recover(): Promise<void> {
    if (this.obstacle !== undefined) return;
    const { groups, running } = this.#parts;
    const apart = (this.#parts.apart?.() ?? []).map((one) => ({ ...one, in: groups.of(one.pid) }));
    for (const { group, account, app } of await groups.found()) {
      this.#groups.set(group, account);
      const folder = groups.folder(group);
      const noted = apart.find((one) => one.in === group);
      const known = readStart(folder) ?? {
        ...forgotten(app, this.#parts.now()),
        ...(noted && { profile: 'secure' }),
      };
      const process = noted && { pid: noted.pid, startTime: noted.startTime };
      running.begin({ ...known, ...(process && { process }), group, account });
      this.#watch(group);
    }
    this.#wait();
  }

  /**
   * Puts a process that is about to become a program into a group of its own, soon: the answer does not say that it is
   * there. `pid` and `uid` are the kernel's word on who is connected.
   */
  follow(app: string, caller: Caller, start: Start): Placement {
    const { placement, placed } = this.#begin(app, caller, start);
    // After the answer: whoever waits for it does not wait for this.
    setImmediate(() => void placed());
    return placement;
  }

  /** The same, and it is there when this has ended; where it could not be put there, nothing is. */
  async place(app: string, caller: Caller, start: Start): Promise<Placement & { folder?: string }> {
    const { placement, placed } = this.#begin(app, caller, start);
    await placed();
    if (placement.state === 'none') return placement;
    if (!this.#groups.has(placement.group))
      return { state: 'none', reason: 'it could not be put into a group of its own' };
    return { ...placement, folder: this.#parts.groups.folder(placement.group) };
  }

  #begin(
    app: string,
    caller: Caller,
    start: Start,
  ): { placement: Placement; placed(): Promise<void> } {
    const allowed = this.#allowed(caller);
    if ('reason' in allowed)
      return { placement: { state: 'none', ...allowed }, placed: async () => undefined };
    const { account, process } = allowed;
    const group = this.#parts.groups.name(app, account);
    this.#groups.set(group, account);
    this.#coming.add(group);
    this.#placing.add(process.pid);
    return {
      placement: { state: 'follows', group },
      placed: () => this.#next(() => this.#place({ group, account }, process, start)),
    };
  }

  /** Who is to be placed, or why he is not. Never throws: what is expected behind a launch would wait for it for ever. */
  #allowed(caller: Caller): { account: number; process: OwnedProcess } | { reason: string } {
    const { pid, uid, startTime } = caller;
    try {
      const account = this.#parts.accountOf(uid);
      const refused = this.obstacle ?? this.#full(account);
      if (refused !== undefined) return { reason: refused };
      const process = processStat(pid);
      if (process?.uid !== uid || process.startTime !== (startTime ?? process.startTime))
        return { reason: 'the caller is not to be seen' };
      const stays = this.#parts.groups.refusal(process, account);
      return stays === undefined ? { account, process } : { reason: stays };
    } catch (error) {
      this.#problem(error);
      const why = error instanceof Error ? error.message : String(error);
      return { reason: `it cannot be put into a group of its own: ${why}` };
    }
  }

  /** This process is about to be put into a group of ours. */
  isPlacing(pid: number): boolean {
    return this.#placing.has(pid);
  }

  /** One more program of this user cannot be placed just now. */
  isFull(account: number): boolean {
    return this.obstacle === undefined && this.#full(account) !== undefined;
  }

  /** Why a program that was only found stays where it is, or undefined. */
  keeps(process: OwnedProcess, account: number): string | undefined {
    return this.#parts.groups.keeps(process, account);
  }

  /** Resolves when every program whose start was answered by now has been put where it belongs. */
  async settled(): Promise<void> {
    await turn();
    await this.#running;
  }

  /** The group that a process is in, which may be one of ours. */
  groupOf(pid: number): string | undefined {
    return this.#parts.groups.of(pid);
  }

  /** Where a group is. */
  folder(group: string): string {
    return this.#parts.groups.folder(group);
  }

  /** More is known of what runs in a group of ours. */
  tell(group: string, more: Partial<RunningApplication>): void {
    const known = this.#parts.running.in(group);
    if (known === undefined) return;
    this.#parts.running.begin({ ...known, ...more });
    writeStart(this.folder(group), { ...known, ...more });
  }

  /** Removes what is empty. Groups of programs that run stay, and are taken up by the next daemon. */
  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#next(() => this.#clear(boottimeMs() + closeMs));
    for (const watch of this.#watches.values()) watch?.close();
  }

  #full(account: number): string | undefined {
    const { allMax, perUserMax, waitingMax } = this.#limits;
    if (this.#coming.size >= waitingMax || this.#groups.size >= allMax)
      return 'too many programs start at once';
    let mine = 0;
    for (const owner of this.#groups.values()) if (owner === account) mine += 1;
    return mine >= perUserMax ? `this user has ${mine} groups already` : undefined;
  }

  /** One after the other: nothing is removed between the making of a group and the move into it. Never rejects. */
  #next(work: () => Promise<void>): Promise<void> {
    this.#running = this.#running.then(work).catch((err: unknown) => this.#problem(err));
    return this.#running;
  }

  async #place(
    { group, account }: { group: string; account: number },
    process: OwnedProcess,
    { weights, ...start }: Start,
  ): Promise<void> {
    const { groups } = this.#parts;
    try {
      // Its daemon ends: it stays where it is, as without one.
      if (this.#stopped) return void this.#groups.delete(group);
      if (!(await groups.put(group, process, weights))) return await this.#drop(group);
      const { pid, startTime } = process;
      const known = {
        by: 'launch' as const,
        ...start,
        weights,
        process: { pid, startTime },
        sinceMs: this.#parts.now(),
      };
      writeStart(groups.folder(group), known);
      this.#parts.running.begin({ ...known, group, account });
      this.#watch(group);
    } catch (error) {
      await this.#drop(group);
      throw error;
    } finally {
      this.#coming.delete(group);
      this.#placing.delete(process.pid);
      this.#wait();
    }
  }

  #made(): string[] {
    return [...this.#groups.keys()].filter((group) => !this.#coming.has(group));
  }

  async #drop(group: string): Promise<void> {
    if (!(await this.#parts.groups.drop(group))) return;
    this.#groups.delete(group);
    this.#watches.get(group)?.close();
    this.#watches.delete(group);
    this.#parts.running.end(group);
  }

  /** The kernel tells when the last process of a group has gone; version 1 does not. The group itself goes with the next sweep. */
  #watch(group: string): void {
    const folder = this.#parts.groups.folder(group);
    const look = () => {
      const events = readKnob(folder, 'cgroup.events');
      if (events?.includes('populated 1') !== true) this.#parts.running.end(group);
    };
    this.#watches.set(group, watchPath(`${folder}/cgroup.events`, look));
  }

  /** A group whose last process has just ended may be busy for a moment more. */
  async #clear(untilMs: number): Promise<void> {
    for (;;) {
      await this.#sweep(untilMs);
      const left = this.#made().map((group) => this.#parts.groups.folder(group));
      const empty = left.some((folder) => processesOf(folder).length === 0);
      if (!empty || boottimeMs() > untilMs) return;
      await pause(clearEveryMs);
    }
  }

  async #sweep(untilMs = Number.POSITIVE_INFINITY): Promise<void> {
    for (const group of this.#made()) {
      if (boottimeMs() > untilMs) break;
      // One that cannot be removed keeps none of the others.
      await this.#drop(group).catch((err: unknown) => this.#problem(err));
    }
    this.#wait();
  }

  #wait(): void {
    if (this.#stopped || this.#timer !== undefined || this.#groups.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#next(() => this.#sweep());
    }, this.#limits.sweepMs).unref();
  }

  /** Said once: what keeps one launch from its group mostly keeps all of them. */
  #problem(err: unknown): void {
    if (this.#saidProblem) return;
    this.#saidProblem = true;
    this.#parts.log.warn({ err }, 'cannot keep the group of a program, ignoring');
  }
}
