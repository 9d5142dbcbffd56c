import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { boottimeMs } from '../kernel/clock.ts';
import { readServed } from './served-rows.ts';
import { Session, type SessionParts, type Wanted } from './session.ts';

/** What a launch gets of them. */
export type Entered =
  | { session: Session }
  /** It starts without: why. */
  | { standard: string }
  /** It must not start: what it would work on is not complete. */
  | { refused: string };

/** More applications are not served at once, of one user and of all. */
const PER_USER_MAX = 8;
const ALL_MAX = 32;
const TICK_MS = 1000;
/** Memory that was filled too late for its launch waits so long for the next one. */
const IDLE_MS = 10 * 60_000;
/** After a failure no launch tries it again before this time. */
const PAUSE_MS = 60_000;
/** At the stop of the daemon, also where a service manager grants more. */
const CLOSE_MS = 30_000;
/** How long to wait before memory is filled anew for the next launch: longer each time, where somebody goes on writing on the disk. */
const AGAIN = { firstMs: 1000, times: 4 };

/** No launch would find memory: what is to be there for the next one. */
interface Missed {
  wanted: Wanted;
  sinceMs: number;
  againMs: number;
  nextMs: number;
}

/** What is shown of one. */
export interface SessionPage {
  app: string;
  owner: number;
  state: Session['state'];
  instances: number;
  takenMs: number;
  /** Why it was not written back. */
  problem?: string;
  /** Why its programs may soon be told that their disk is full. */
  shortage?: string;
}

/** False where others may be in memory by now: what may be lost was stated anew, or there are more folders. */
const hasSameFolders = (one: Wanted, other: Wanted): boolean =>
  one.home === other.home && isDeepStrictEqual(one.folders, other.folders);

const expected = (session: Session): Entered => {
  session.expect();
  return { session };
};

/** What `work` comes to before `late`; undefined where it takes longer, and goes on. */
async function before<T>(late: number, work: Promise<T>): Promise<T | undefined> {
  const gone = new AbortController();
  const timeout = pause(Math.max(0, late - performance.now()), undefined, { signal: gone.signal });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    gone.abort();
    await timeout.catch(() => undefined);
    work.catch(() => undefined);
  }
}

/** All sessions of the daemon. */
export class Sessions {
  readonly #parts: SessionParts;
  readonly #all = new Map<string, Session>();
  readonly #failures = new Map<string, { text: string; atMs: number }>();
  readonly #missed = new Map<string, Missed>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** What is being done for each: it may take long, and holds up no other. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /**
   * The session for a launch, which is expected then, if its memory is there before `late` (of `performance.now`). One that starts without has
   * it filled behind it, and anew when it has ended.
   */
  async enter(wanted: Wanted, late: number): Promise<Entered> {
    const entered = await this.#inTime(wanted, late);
    if ('session' in entered) this.#missed.delete(wanted.name);
    if ('standard' in entered) this.#miss(wanted);
    return entered;
  }

  /** Memory is to be there for the next launch. */
  #miss(wanted: Wanted): void {
    const now = boottimeMs();
    const { firstMs } = AGAIN;
    // One that is started again and again does not put it off.
    const { againMs = firstMs, nextMs = now + firstMs } = this.#missed.get(wanted.name) ?? {};
    this.#missed.set(wanted.name, { wanted, sinceMs: now, againMs, nextMs });
    this.#wait();
  }

  async #inTime(wanted: Wanted, late: number): Promise<Entered> {
    const session = this.#all.get(wanted.name) ?? this.#begin(wanted);
    if ('standard' in session) return session;
    for (;;) {
      const { state, problem } = session;
      if (state === 'serving') {
        // All instances see the same folders, until the last one has ended.
        session.latest = wanted;
        return expected(session);
      }
      if (state === 'filled') return await this.#entered(session, wanted, late);
      if (state === 'gone')
        return { standard: this.#failures.get(wanted.name)?.text ?? 'it has just ended' };
      if (performance.now() > late)
        return state === 'ending'
          ? {
              refused: `what it wrote is being brought to the disk${problem ? `: ${problem}` : ''}`,
            }
          : { standard: 'its folders are not in memory yet; they will be for a later start' };
      await pause(5);
    }
  }

  async #entered(session: Session, wanted: Wanted, late: number): Promise<Entered> {
    if (!hasSameFolders(session.wanted, wanted))
      return {
        standard:
          'other folders of it are in memory than may be now; they will be for a later start',
      };
    // What that one writes would not be seen in memory.
    if (this.#isOnDisk(session.wanted))
      return { standard: 'another instance of it works on the disk, and so does this one' };
    // Before anything is waited for: memory does not go then.
    session.expect();
    const isFresh = await before(late, session.isFresh()).catch(() => false);
    if (isFresh === true || session.state === 'serving') return { session };
    session.decline();
    return {
      standard:
        isFresh === undefined
          ? 'its folders could not be compared with the disk in time'
          : 'its folders have changed since they came into memory; they will be there for a later start',
    };
  }

  #isOnDisk(wanted: Wanted): boolean {
    return this.#parts.isOnDisk?.(wanted) ?? false;
  }

  /** Fills memory anew for the next launch, when nobody works on the disk any more. */
  async #prepare(name: string, missed: Missed): Promise<void> {
    const now = boottimeMs();
    const session = this.#all.get(name);
    if (now - missed.sinceMs > IDLE_MS) return void this.#missed.delete(name);
    if (now < missed.nextMs || this.#isOnDisk(missed.wanted)) return;
    missed.nextMs = now + missed.againMs;
    if (session !== undefined) {
      if (session.state !== 'filled') return;
      const isSame = hasSameFolders(session.wanted, missed.wanted);
      if (isSame && (await session.isFresh().catch(() => false))) return;
      // A launch may be quicker.
      if (!(await session.discard()) || this.#all.get(name) !== session) return;
      this.#all.delete(name);
    }
    missed.againMs *= AGAIN.times;
    this.#failures.delete(name);
    this.#begin(missed.wanted);
  }

  #begin(wanted: Wanted): Session | { standard: string } {
    const { name, owner } = wanted;
    const failure = this.#failures.get(name);
    if (failure !== undefined && boottimeMs() - failure.atMs < PAUSE_MS)
      return { standard: failure.text };
    const mine = [...this.#all.values()].filter((one) => one.wanted.owner === owner).length;
    if (mine >= PER_USER_MAX || this.#all.size >= ALL_MAX)
      return { standard: 'too many applications are in memory already' };
    const session = new Session(this.#parts, wanted);
    this.#all.set(name, session);
    this.#failures.delete(name);
    session.fill().catch((error) => {
      const text = String((error as Error)?.message ?? error);
      this.#failures.set(name, { text, atMs: boottimeMs() });
      if (this.#all.get(name) === session) this.#all.delete(name);
    });
    this.#wait();
    return session;
  }

  /** Takes up what an earlier daemon or boot has left. Before callers are served; what takes long goes on behind it. */
  async recover(): Promise<void> {
    for (const row of await readServed(this.#parts.store)) {
      const session = new Session(this.#parts, row, row);
      this.#all.set(row.name, session);
      void session.resume();
    }
    this.#wait();
  }

  #wait(): void {
    if (this.#closed || this.#timer !== undefined || this.#all.size + this.#missed.size === 0)
      return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tick();
      this.#wait();
    }, TICK_MS).unref();
  }

  #tick(): void {
    // A program that is being written back goes on writing.
    for (const session of this.#all.values()) void session.keepRoom();
    for (const name of new Set([...this.#all.keys(), ...this.#missed.keys()])) {
      if (this.#turns.has(name)) continue;
      const turn = this.#turn(name).finally(() => this.#turns.delete(name));
      this.#turns.set(name, turn);
    }
  }

  /** Does what is due for one. */
  async #turn(name: string): Promise<void> {
    const session = this.#all.get(name);
    if (session !== undefined) await this.#tend(name, session);
    const missed = this.#missed.get(name);
    if (missed !== undefined) await this.#prepare(name, missed);
  }

  async #tend(name: string, session: Session): Promise<void> {
    const hasServed = session.state === 'serving' || session.state === 'ending';
    await session.tick();
    const idle = session.state === 'filled' && session.unsavedMs > IDLE_MS;
    if (idle) await session.discard();
    if (session.state !== 'gone' || this.#all.get(name) !== session) return;
    this.#all.delete(name);
    if (hasServed && session.isLarge) this.#miss(session.latest);
  }

  /** Names of their partitions. */
  get names(): string[] {
    return [...this.#all.keys()];
  }

  #of(owner?: number, app?: string): Session[] {
    return [...this.#all.values()].filter(
      ({ wanted }) =>
        (owner === undefined || wanted.owner === owner) &&
        (app === undefined || wanted.app === app),
    );
  }

  /** What the programs of an application that works in memory see in place of its folders; undefined where there is none. */
  binds(owner: number, app: string): Session['binds'] | undefined {
    return this.#of(owner, app).find(({ state }) => state === 'serving')?.binds;
  }

  /**
   * Writes back now: all, those of one user, or one application. Problems are shown by `pages`. After `withinMs` it waits no longer, and
   * answers the names of those that are still being written. `askers` are not stopped for it.
   */
  async syncNow(
    owner?: number,
    app?: string,
    { withinMs, askers = [] }: { withinMs?: number | undefined; askers?: readonly number[] } = {},
  ): Promise<ReadonlySet<string>> {
    const sessions = this.#of(owner, app);
    const late = new Set(sessions.map(({ wanted }) => wanted.name));
    const all = Promise.all(
      sessions.map(async (one) => {
        await one.syncNow(askers).catch(() => undefined);
        late.delete(one.wanted.name);
      }),
    );
    if (withinMs === undefined) await all;
    else await Promise.race([all, pause(withinMs, undefined, { ref: false })]);
    return new Set(late);
  }

  pages(owner?: number, app?: string): SessionPage[] {
    return this.#of(owner, app).map((one) => {
      const { wanted, state, instances, takenMs, problem, shortage } = one;
      return {
        app: wanted.app,
        owner: wanted.owner,
        state,
        instances,
        takenMs,
        ...(problem === undefined ? {} : { problem }),
        ...(shortage === undefined ? {} : { shortage }),
      };
    });
  }

  /**
   * Everything is written back; memory of what runs stays for the next daemon. One that is not done after `withinMs` is waited for no longer:
   * it holds up neither the others nor what is to be closed after them.
   */
  async close(withinMs = CLOSE_MS): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const late = performance.now() + Math.min(withinMs, CLOSE_MS);
    const closeOne = async (name: string): Promise<void> => {
      await this.#turns.get(name)?.catch(() => undefined);
      await this.#all.get(name)?.close();
    };
    const names = new Set([...this.#turns.keys(), ...this.#all.keys()]);
    const each = [...names].map((name) => before(late, closeOne(name)).catch(() => undefined));
    await Promise.all(each);
  }
}
