import type { Log } from '../changes/log.ts';
import type { Applied } from './apply.ts';
import { hintLimits, liveHints } from './hints.ts';
import type { IoShares } from './io-shares.ts';
import type { Theirs } from './knob-owners.ts';
import { leaseKey } from './lease.ts';
import type { Leases, Returned } from './leases.ts';
import type { Glance } from './machine-look.ts';
import { type Observation, type Side, sides } from './observation.ts';
import { notManageable, type Places } from './places.ts';
import type { Goals, Hint, Policy, Reason } from './policy.ts';
import { type PolicySettings, policySettings } from './policy-settings.ts';
import type { Recorder } from './recorder.ts';
import { tickMs, worthALook } from './ticks.ts';
import { Turns } from './turns.ts';

/** What decides, and whether it may turn knobs or only say what it would. */
export interface Choice {
  policy: Policy;
  manage: boolean;
  /** What policies go by. */
  settings: PolicySettings;
}

/** One turn, as it is explained. */
export interface Decision {
  /** Milliseconds since 1970. */
  atMs: number;
  policy: string;
  managed: boolean;
  goals: Goals;
  why: Reason[];
  writes: Applied[];
}

/** What the loop works with. */
export interface LoopParts {
  places: Places;
  leases: Leases;
  /** The shares of disks, where there is a controller for them. */
  io?: IoShares;
  recorder: Recorder;
  log: Log;
  /** Milliseconds since boot, sleep included. */
  nowMs(): number;
  wallMs(): number;
  look(atMs: number): Observation;
  glance(): Glance;
}

/** Decisions with writes that are kept for `explain`. */
const decisionsKept = 32;
/** What could not be given back is tried again after this. */
const giveBackAgainMs = 10_000;
/** The same failure is logged once in this time. */
const sayAgainMs = 10 * 60_000;

/** Looks, decides and applies, as often as there is something to see. */
export class MemoryLoop {
  readonly #parts: LoopParts;
  #choice: Choice;
  readonly #turns: Turns;
  #last: Observation | undefined;
  #before: Observation | undefined;
  #decision: Decision | undefined;
  #moves: Decision[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #started = false;
  #stopped = false;
  /** CLOCK_BOOTTIME of the last glance that saw something. */
  #sawMs = 0;
  #said = new Map<string, number>();
  /** Launches that were announced, the oldest first. */
  #hints: readonly Hint[] = [];
  /** The next turn looks, whatever there is to see. */
  #due = false;
  #looks = 0;
  #gaveBackMs = 0;
  #seenMs = 0;
  readonly #beside: (() => void)[] = [];

  constructor(parts: LoopParts, choice: Pick<Choice, 'policy' | 'manage'> & Partial<Choice>) {
    this.#parts = parts;
    this.#turns = new Turns(parts);
    this.#choice = { settings: policySettings, ...choice };
  }

  get choice(): Choice {
    return this.#choice;
  }
  /** The last look, and the one before. */
  get last(): Observation | undefined {
    return this.#last;
  }
  get before(): Observation | undefined {
    return this.#before;
  }
  get decision(): Decision | undefined {
    return this.#decision;
  }
  /** The newest decisions that had something to write, the oldest first. */
  get moves(): readonly Decision[] {
    return this.#moves;
  }
  /** Knobs that others turn. */
  get theirs(): readonly Theirs[] {
    return this.#turns.theirs;
  }
  /** Looks since the start: glances that saw nothing are none. */
  get looks(): number {
    return this.#looks;
  }
  /** When the last look was: milliseconds since 1970. */
  get seenMs(): number {
    return this.#seenMs;
  }
  /** Why nothing is managed though it is wanted, or undefined. */
  get obstacle(): string | undefined {
    return notManageable(this.#parts.places);
  }
  get manages(): boolean {
    return this.#choice.manage && this.obstacle === undefined;
  }

  /** Calls this, too, after each turn: what else is looked at once in a while needs no timer of its own. It never throws. */
  alongside(look: () => void): void {
    this.#beside.push(look);
  }

  start(): void {
    this.#started = true;
    void this.tick().finally(() => this.#wait());
  }

  #wait(): void {
    clearTimeout(this.#timer);
    if (this.#stopped || !this.#started) return;
    const quietMs = this.#parts.nowMs() - this.#sawMs;
    const next = () =>
      void this.tick().finally(() => {
        for (const look of this.#beside) look();
        this.#wait();
      });
    this.#timer = setTimeout(next, tickMs(this.manages, quietMs)).unref();
  }

  /** One turn, after whatever runs. Never throws. */
  tick(): Promise<void> {
    return this.#next(() => this.#tick()).catch((err: unknown) => {
      this.#say(err instanceof Error ? err.message : String(err), { err });
    });
  }

  /** Looks now, at disks, too, unless the last looks at memory and at disks are younger than this. Never throws. */
  async lookAgain(maxAgeMs: number): Promise<void> {
    const { recorder, nowMs } = this.#parts;
    const seen = [this.#last?.atMs, recorder.disks?.atMs];
    if (seen.every((atMs) => atMs !== undefined && nowMs() - atMs < maxAgeMs)) return;
    this.#due = true;
    await this.tick();
  }

  /** A program is about to start. Taken from the next turn on, until it expires; what cannot be true is passed over. */
  announce(hint: Hint): void {
    this.#hints = [...this.#hints, hint].slice(-hintLimits.count);
    this.#due = true;
  }

  /** From the next turn on. What was managed and is not to be any more is given back before it resolves. */
  choose(choice: Partial<Choice>): Promise<Returned[]> {
    return this.#next(async () => {
      this.#choice = { ...this.#choice, ...choice };
      if (choice.settings !== undefined) this.#turns.beginAnew();
      this.#due = true;
      this.#sawMs = this.#parts.nowMs();
      this.#wait();
      return this.manages ? [] : await this.#giveBack();
    });
  }

  /** Turns and choices take their turn: none writes what another is giving back. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#running.then(work);
    this.#running = mine.then(
      () => undefined,
      () => undefined,
    );
    return mine;
  }

  /** Stops looking and gives every knob back. */
  async stop(): Promise<Returned[]> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    const returned = await this.#giveBack();
    await this.#parts.recorder.stop();
    return returned;
  }

  async #giveBack(): Promise<Returned[]> {
    this.#gaveBackMs = this.#parts.nowMs();
    const returned = await this.#parts.leases.releaseAll();
    this.#parts.io?.forget();
    this.#report(returned);
    return returned;
  }

  async #tick(): Promise<void> {
    const { nowMs, glance, look, recorder } = this.#parts;
    const atMs = nowMs();
    const left = !this.manages && this.#parts.leases.all().length > 0;
    if (left && atMs - this.#gaveBackMs >= giveBackAgainMs) await this.#giveBack();
    const limited = sides.some((side) => this.#isLimited(side));
    recorder.lookAtDisks(atMs, this.#due);
    const seen = this.#due ? 'asked' : worthALook(this.#last, glance(), atMs, limited);
    this.#due = false;
    if (seen !== undefined && seen !== 'time') this.#sawMs = atMs;
    if (seen === undefined) {
      this.#turns.quiet(atMs);
      return;
    }
    this.#looks += 1;
    this.#seenMs = this.#parts.wallMs();
    const now = look(atMs);
    recorder.add(this.#last, now);
    this.#before = this.#last;
    this.#last = now;
    await this.#decide(now);
  }

  /** A limit stands, or was set since the last look. */
  #isLimited(side: Side): boolean {
    if (typeof this.#last?.sides[side]?.high === 'number') return true;
    return this.manages && this.#turns.goals?.[side].highBytes !== undefined;
  }

  async #decide(now: Observation): Promise<void> {
    const { wallMs } = this.#parts;
    const { policy, settings } = this.#choice;
    const managed = this.manages;
    const hints = liveHints(this.#hints, now);
    this.#hints = hints;
    const input = { policy, settings, now, hints, manage: managed };
    const { goals, why, writes, lost } = await this.#turns.take(input);
    this.#report(lost);
    if (managed) await this.#parts.io?.apply(now.atMs);
    this.#decision = { atMs: wallMs(), policy: policy.name, managed, goals, why, writes };
    if (writes.some(({ state }) => state !== 'theirs' && state !== 'only-observed'))
      this.#moves = [...this.#moves, this.#decision].slice(-decisionsKept);
    for (const { side, knob, value, state, detail } of writes)
      if (state === 'refused' || state === 'blocked')
        this.#say(`cannot set ${knob} of ${side}`, { value, state, detail });
  }

  /** What could not be given back is tried at each look. */
  #report(returned: readonly Returned[]): void {
    const news = returned.filter(
      ({ lease, state }) => state !== 'failed' || this.#isNew(leaseKey(lease)),
    );
    reportReturned(news, this.#parts.log);
  }

  #say(what: string, facts: Record<string, unknown>): void {
    if (this.#isNew(what)) this.#parts.log.warn(facts, what);
  }

  /** It has not been said for a while. */
  #isNew(what: string): boolean {
    const now = this.#parts.nowMs();
    if (now - (this.#said.get(what) ?? Number.NEGATIVE_INFINITY) < sayAgainMs) return false;
    if (this.#said.size > decisionsKept) this.#said.clear();
    this.#said.set(what, now);
    return true;
  }
}

/** Says what became of leases. */
export function reportReturned(returned: readonly Returned[], log: Log): void {
  for (const { lease, state, detail } of returned) {
    const facts = { group: lease.group, knob: lease.knob, old: lease.old, detail };
    if (state === 'restored') log.info(facts, 'a knob of the machine has its old value again');
    else if (state === 'changed-since')
      log.warn(facts, 'another program has set a knob that was ours: it is left alone');
    else if (state === 'failed') log.error(facts, 'cannot give a knob of the machine back');
    else log.debug(facts, 'the group of a knob that was ours has gone');
  }
}
