import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '../changes/log.ts';
import { groupId, type Hierarchy, processesOf } from '../kernel/cgroups.ts';
import { boottimeMs } from '../kernel/clock.ts';
import {
  dropGroup,
  groupsIn,
  makeGroups,
  type OwnedProcess,
  placeProcess,
} from '../kernel/placed-process.ts';
import { processStat } from '../kernel/processes.ts';

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

/** Where programs are put: a group of their own below this one. */
export interface PlacementParts {
  /** Absent: there is no hierarchy to put them in. */
  hierarchy: Hierarchy | undefined;
  /** The group of all users' programs, below the hierarchy. */
  side: string;
  /** The service manager is the one writer of its groups. */
  managed: boolean;
  /** The user a uid counts to. */
  accountOf(uid: number): number;
  log: Log;
  limits?: Partial<typeof placementLimits>;
}

/** What becomes of one launch. */
export type Placement = { state: 'follows'; group: string } | { state: 'none'; reason: string };

const ofUser = /^personad-user-(\d{1,10})$/;
const ofLaunch = /^app-.+-[0-9a-f]{12}$/;

/**
 * A group for every launch: `SIDE/personad-user-UID/app-ID-NUMBER`. It outlives the daemon as the program does, and is
 * removed when it is empty. Only who is connected is put there, and only below what belongs to its user (SECURITY 18).
 */
export class Placements {
  readonly #parts: PlacementParts;
  readonly #limits: typeof placementLimits;
  /** Groups of ours, and the user each counts to. */
  #groups = new Map<string, number>();
  #waiting = 0;
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
    const { hierarchy, side, managed } = this.#parts;
    if (managed) return 'systemd alone makes groups for programs here, and is not asked yet';
    if (hierarchy === undefined) return 'no cgroup hierarchy is mounted';
    if (groupId(this.#folder(side)) === undefined) return `there is no cgroup ${side}`;
    return undefined;
  }

  /** Groups that are not known to be empty. */
  get count(): number {
    return this.#groups.size;
  }

  /** Takes up the groups that an earlier daemon has made. */
  async recover(): Promise<void> {
    if (this.obstacle !== undefined) return;
    const { side } = this.#parts;
    for (const user of await groupsIn(this.#folder(side))) {
      const account = Number(ofUser.exec(user)?.[1] ?? Number.NaN);
      if (Number.isNaN(account)) continue;
      for (const leaf of await groupsIn(this.#folder(`${side}/${user}`)))
        if (ofLaunch.test(leaf)) this.#groups.set(`${side}/${user}/${leaf}`, account);
    }
    this.#wait();
  }

  /**
   * Puts a process that is about to become a program into a group of its own, soon: the answer does not say that it is
   * there. `pid` and `uid` are the kernel's word on who is connected.
   */
  follow(app: string, pid: number, uid: number): Placement {
    const account = this.#parts.accountOf(uid);
    const refused = this.obstacle ?? this.#full(account);
    if (refused !== undefined) return { state: 'none', reason: refused };
    const found = processStat(pid);
    if (found?.uid !== uid) return { state: 'none', reason: 'the caller is not to be seen' };
    const leaf = `app-${app}-${randomBytes(6).toString('hex')}`;
    const group = `${this.#parts.side}/personad-user-${account}/${leaf}`;
    this.#groups.set(group, account);
    this.#waiting += 1;
    // After the answer: whoever waits for it does not wait for this.
    setImmediate(() => void this.#next(() => this.#place(group, found)));
    return { state: 'follows', group };
  }

  /** Removes what is empty. Groups of programs that run stay, and are taken up by the next daemon. */
  async close(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#next(() => this.#clear(boottimeMs() + closeMs));
  }

  #folder(group: string): string {
    return `${this.#parts.hierarchy?.at ?? ''}/${group}`;
  }

  #full(account: number): string | undefined {
    const { allMax, perUserMax, waitingMax } = this.#limits;
    if (this.#waiting >= waitingMax || this.#groups.size >= allMax)
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

  async #place(group: string, process: OwnedProcess): Promise<void> {
    const { hierarchy } = this.#parts;
    const folder = this.#folder(group);
    try {
      // Its daemon ends: it stays where it is, as without one.
      if (this.#stopped) return void this.#groups.delete(group);
      await makeGroups(folder);
      if (hierarchy === undefined || !(await placeProcess(folder, hierarchy, process)))
        await this.#drop(group);
    } catch (error) {
      await this.#drop(group);
      throw error;
    } finally {
      this.#waiting -= 1;
      this.#wait();
    }
  }

  /** Removes a group, and that of its user when nothing else is in it. */
  async #drop(group: string): Promise<void> {
    if (!(await dropGroup(this.#folder(group)))) return;
    this.#groups.delete(group);
    await dropGroup(this.#folder(group.slice(0, group.lastIndexOf('/'))));
  }

  /** A group whose last process has just ended may be busy for a moment more. */
  async #clear(untilMs: number): Promise<void> {
    for (;;) {
      await this.#sweep(untilMs);
      const left = [...this.#groups.keys()].map((group) => this.#folder(group));
      const empty = left.some((folder) => processesOf(folder).length === 0);
      if (!empty || boottimeMs() > untilMs) return;
      await pause(clearEveryMs);
    }
  }

  async #sweep(untilMs = Number.POSITIVE_INFINITY): Promise<void> {
    for (const group of [...this.#groups.keys()]) {
      if (boottimeMs() > untilMs) break;
      await this.#drop(group);
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
    this.#parts.log.warn({ err }, 'cannot put a program into a group of its own, ignoring');
  }
}
