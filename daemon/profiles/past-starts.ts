import type { Log } from '../changes/log.ts';
import { accountOf } from '../kernel/accounts.ts';
import { boottimeMs } from '../kernel/clock.ts';
import { isStill, type OwnedProcess } from '../kernel/placed-process.ts';
import { sharesProcessIds } from '../kernel/process-ids.ts';
import { type RunningProgram, runningProgram } from '../kernel/running-program.ts';
import type { Found } from './catalogue.ts';
import { launched } from './launched.ts';
import type { Placement, Placements, Start } from './placements.ts';
import type { ProfilesRoom } from './room.ts';
import type { Running } from './running.ts';
import { type Choice, choose } from './selection.ts';
import { isSpecial } from './sought.ts';
import type { Staying } from './staying.ts';
import {
  mustBeApart,
  stopViolation,
  toldOf,
  type ViolationPolicy,
  violationText,
} from './violation.ts';
import { weightsOf } from './weights.ts';

/** Ids of people, not of services; the last one is nobody's (UID_MIN of login.defs(5), systemd's uids). */
const isPerson = (uid: number): boolean => uid >= 1_000 && uid !== 65_534;

/** Programs of one user that are put elsewhere in a minute: the service manager does nothing else where each step of a long build is one. */
const placedMax = 256;
const minuteMs = 60_000;

/** What programs are looked up in, put by, and told to. */
export interface PastStartsParts {
  applications: Pick<ProfilesRoom, 'forLaunch' | 'fileAt'>;
  accountOf(uid: number): number;
  placements: Placements;
  running: Running;
  /** Those that are left where they are. */
  staying: Staying;
  /** Has it told what a group was made for, where that is still to be looked at. */
  looked?(group: string): Promise<void>;
  policy: ViolationPolicy;
  now(): number;
  log: Log;
}

/** What a process was found to be. */
interface Seen {
  program: RunningProgram;
  account: number;
  group: string;
  found: Found;
  choice: Choice;
}

/**
 * Programs that were started without the daemon: each is put into a group of its own, as a launch would be, with its weights, or left where it
 * is, and told. A profile in memory waits for the next start; what must be kept apart is told, or stopped.
 */
export class PastStarts {
  readonly #parts: PastStartsParts;
  /** How many were placed of late, by user. */
  #placed = new Map<number, number>();
  #sinceMs = Number.NEGATIVE_INFINITY;
  #work: Promise<unknown> = Promise.resolve();

  constructor(parts: PastStartsParts) {
    this.#parts = parts;
  }

  /** Takes a process that runs a program for which something is to be done. Safe to repeat. */
  async take(pid: number): Promise<void> {
    await this.#next(() => this.#take(pid));
  }

  /**
   * Places a process that has asked how it is to start, got no answer, and has become a program since. Undefined: it was answered after all, or has
   * ended.
   * @param as what it calls the program
   */
  async late(process: OwnedProcess, as: string): Promise<Placement | undefined> {
    return await this.#next(() => this.#late(process, as));
  }

  /** One after the other: a process that was told twice is taken once. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #late(process: OwnedProcess, as: string): Promise<Placement | undefined> {
    const { applications, placements, running } = this.#parts;
    await placements.settled();
    const program = isStill(process) ? runningProgram(process.pid) : undefined;
    if (program === undefined || running.in(this.#groupOf(process))?.process?.pid === process.pid)
      return undefined;
    const catalogue = await this.#catalogue(this.#parts.accountOf(process.uid));
    const found = launched(catalogue, applications.fileAt, { app: as, executable: program });
    const choice = choose({ ...found, obstacles: {} });
    const recognised = found.recognised.by === 'executable';
    const app = found.recognised.by === 'nothing' ? as : found.application.id;
    const weights = weightsOf(choice.cpu, undefined);
    const start: Start = { app, ...toldOf(choice), recognised, weights };
    const placed = await placements.place(app, process, start);
    if (placed.state === 'follows') await this.#stop(placed.group, choice, 'launch');
    return placed;
  }

  #groupOf({ pid }: Pick<OwnedProcess, 'pid'>): string {
    return this.#parts.placements.groupOf(pid) ?? '';
  }

  #catalogue(account: number) {
    const gid = accountOf(account)?.gid ?? account;
    return this.#parts.applications.forLaunch({ uid: account, gid, groups: [] });
  }

  async #take(pid: number): Promise<void> {
    const { applications, placements, running } = this.#parts;
    // Who was answered before he became the program is in his group after this.
    await placements.settled();
    const program = runningProgram(pid);
    const account = program && this.#parts.accountOf(program.uid);
    if (program === undefined || account === undefined || !isPerson(account)) return;
    if (!sharesProcessIds(pid)) return;
    const group = this.#groupOf(program);
    // A desktop has made it for this very program, or for one that has started it.
    await this.#parts.looked?.(group);
    const known = running.in(group);
    const catalogue = await this.#catalogue(account);
    const found = catalogue.find(program, applications.fileAt, known?.app);
    const choice = choose({ ...found, obstacles: {} });
    if (found.recognised.by !== 'executable' || !isSpecial(choice)) return;
    // Its own processes stay with it, and what was launched is what it is.
    if (known?.app !== found.application.id)
      return await this.#place({ program, account, group, found, choice });
    // An earlier daemon has placed it, and could not write down what it is.
    if (known.rule === 'unknown') await this.#stop(known.group, choice);
  }

  async #place(seen: Seen): Promise<void> {
    const { placements, policy } = this.#parts;
    const { program, account, found, choice } = seen;
    const keeps = placements.keeps(program, account);
    // What is ended or frozen loses nothing more by it, and what it has forked comes with it.
    const isStopped = mustBeApart(choice) && policy !== 'warn';
    if (keeps !== undefined && !isStopped) return this.#leave(seen, keeps);
    if (!isStopped && !this.#mayPlace(account)) return;
    const app = found.application.id;
    const weights = weightsOf(choice.cpu, undefined);
    const start = { app, ...toldOf(choice), by: 'found', recognised: true, weights } as const;
    const placed = await placements.place(app, program, start);
    if (placed.state === 'follows') await this.#stop(placed.group, choice);
    else if (isStill(program)) this.#leave(seen, placed.reason);
  }

  /** It is told, and nothing is set for it. */
  #leave({ program, account, group, found, choice }: Seen, why: string): void {
    const { staying, now, log, policy } = this.#parts;
    const { pid, startTime } = program;
    const told = toldOf(choice);
    const violation = mustBeApart(choice) ? violationText(choice, 'it goes on') : undefined;
    const isNew = staying.begin({
      ...{ app: found.application.id, account, group, ...told, shared: true },
      ...{ reason: `${told.reason}; nothing is set for it: ${why}`, sinceMs: now() },
      ...{ by: 'found', process: { pid, startTime }, recognised: true, weights: {} },
      ...(violation !== undefined && { violation }),
    });
    if (isNew && violation !== undefined)
      log.warn({ group, pid, policy, why: choice.why }, 'a program runs that must be kept apart');
  }

  /** Who has too many just now is found again when all processes are looked at. */
  #mayPlace(account: number): boolean {
    if (boottimeMs() - this.#sinceMs > minuteMs) {
      this.#placed = new Map();
      this.#sinceMs = boottimeMs();
    }
    const before = this.#placed.get(account) ?? 0;
    this.#placed.set(account, before + 1);
    return before < placedMax;
  }

  async #stop(group: string, choice: Choice, by: 'found' | 'launch' = 'found'): Promise<void> {
    const { placements } = this.#parts;
    const violation = await stopViolation(placements.folder(group), choice, this.#parts);
    if (violation !== undefined) placements.tell(group, { ...toldOf(choice), by, violation });
  }
}
