import { setImmediate as turn } from 'node:timers/promises';
import { boottimeMs } from '../kernel/clock.ts';
import { isStill, type OwnedProcess } from '../kernel/placed-process.ts';
import { processStat } from '../kernel/processes.ts';
import { runningFile, runningProgram } from '../kernel/running-program.ts';
import { applicationIdPattern } from './application.ts';
import { fileKey } from './layer.ts';
import type { PastStarts } from './past-starts.ts';
import type { Placement, Placements, Start } from './placements.ts';

/** What is kept at most, and when it is looked at. */
export const lateLimits: Readonly<
  Record<'perUserMax' | 'allMax' | 'soonMs' | 'sweepMs' | 'becomesMs', number>
> = {
  /** Launches of one user: as many as he may have groups. */
  perUserMax: 1024,
  allMax: 4096,
  /** When new ones are looked at first: a launcher that was refused becomes the program at once. */
  soonMs: 100,
  sweepMs: 5_000,
  /** Who has not become another program by then was no launcher. Longer than those come again that start nothing without an answer. */
  becomesMs: 10_000,
};

/** What refused launches are placed by. */
export interface LateParts {
  placements: Pick<Placements, 'place' | 'isFull'>;
  past: Pick<PastStarts, 'late'>;
  accountOf(uid: number): number;
  /** Something could not be placed. */
  failed(err: unknown): void;
  limits?: Partial<typeof lateLimits>;
}

/** The kernel's word on who is connected. */
type Caller = Pick<OwnedProcess, 'pid' | 'uid'>;

/** A launch that is still to be placed. */
interface Late {
  /** Of the user who was connected; who is another one when it is placed is not. */
  process: OwnedProcess;
  /** The user it counts to. */
  account: number;
  /** The launcher itself, by its file. */
  was: string | undefined;
  sinceMs: number;
  /** When it is looked at next. */
  dueMs: number;
  /** What it calls the program. */
  as: string | undefined;
  /** Present: it was answered, and there was no room for its group. */
  start: Start | undefined;
}

/** What a program is called of which nobody has said anything. */
function nameOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return applicationIdPattern.test(name) ? name : 'program';
}

/** Launches that were refused because there were too many: their programs run, and are placed when there is room. */
export class LateLaunches {
  readonly #parts: LateParts;
  readonly #limits: typeof lateLimits;
  readonly #all = new Map<number, Late>();
  #timer: NodeJS.Timeout | undefined;
  #atMs = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #closed = false;

  constructor(parts: LateParts) {
    this.#parts = parts;
    this.#limits = { ...lateLimits, ...parts.limits };
  }

  /** Launches that wait. */
  get count(): number {
    return this.#all.size;
  }

  /** A caller was not answered. `as`: what he wanted to start, where he could say so. He counts when he becomes another program. */
  refused(caller: Caller, as?: string): void {
    // Who comes again, and again, is looked at once.
    if (this.#all.has(caller.pid)) return;
    const was = runningFile(caller.pid);
    this.#add(caller, { as, was: was && fileKey(was), start: undefined });
  }

  /** A caller came again, and was answered: what he starts is known, also where it could not be placed. */
  answered({ pid, uid }: Caller): void {
    if (this.#all.get(pid)?.process.uid === uid) this.#all.delete(pid);
  }

  /** A caller was answered, and has no group. Nothing is kept where that will stay so. */
  unplaced(caller: Caller, start: Start): void {
    if (!this.#parts.placements.isFull(this.#parts.accountOf(caller.uid))) return;
    // What was to be in memory is not, without a group.
    const profile = start.profile === 'fast' ? 'standard' : start.profile;
    this.#add(caller, { as: start.app, was: undefined, start: { ...start, profile } });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #add({ pid, uid }: Caller, more: Pick<Late, 'as' | 'was' | 'start'>): void {
    const process = processStat(pid);
    // Who connected may have ended, and left his number and his connection to others, or run a program with another user's rights.
    if (this.#closed || process?.uid !== uid) return;
    const account = this.#parts.accountOf(uid);
    let mine = 0;
    for (const one of this.#all.values()) if (one.account === account) mine += 1;
    if (mine >= this.#limits.perUserMax || this.#all.size >= this.#limits.allMax) return;
    const sinceMs = boottimeMs();
    const dueMs = sinceMs + this.#limits.soonMs;
    this.#all.set(pid, { process, account, sinceMs, dueMs, ...more });
    this.#wait(dueMs);
  }

  /** One look at a time: who comes while one goes on waits for the next. */
  #wait(dueMs: number): void {
    if (this.#closed || this.#looking !== undefined || this.#atMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#atMs = dueMs;
    // A timer counts whole milliseconds, and must not come before them.
    const ms = Math.max(this.#limits.soonMs, Math.ceil(dueMs - boottimeMs())) + 1;
    this.#timer = setTimeout(() => {
      this.#atMs = Number.POSITIVE_INFINITY;
      this.#looking = this.#look()
        .catch(this.#parts.failed)
        .finally(() => {
          this.#looking = undefined;
          this.#wait(Math.min(...[...this.#all.values()].map((one) => one.dueMs)));
        });
    }, ms).unref();
  }

  /** Looks at those whose time it is, and gives way to other work after each: they may be thousands. */
  async #look(): Promise<void> {
    const nowMs = boottimeMs();
    const due = [...this.#all].filter(([, { dueMs }]) => dueMs <= nowMs);
    for (const [, one] of due) one.dueMs = nowMs + this.#limits.sweepMs;
    for (const [pid, one] of due) {
      await turn();
      if (this.#closed) return;
      if (this.#all.get(pid) !== one) continue;
      if (!(await this.#waits(one)) && this.#all.get(pid) === one) this.#all.delete(pid);
    }
  }

  /** True when it is to be looked at again. */
  async #waits(one: Late): Promise<boolean> {
    const { process, account, was, as, start, sinceMs } = one;
    const { placements, past } = this.#parts;
    const program = isStill(process) ? runningProgram(process.pid) : undefined;
    if (program === undefined) return false;
    if (start === undefined && fileKey(program) === was)
      return boottimeMs() - sinceMs < this.#limits.becomesMs;
    if (placements.isFull(account)) return true;
    const placed: Placement | undefined =
      start === undefined
        ? await past.late(process, as ?? nameOf(program.path))
        : await placements.place(start.app, process, start);
    return placed?.state === 'none' && placements.isFull(account);
  }
}
