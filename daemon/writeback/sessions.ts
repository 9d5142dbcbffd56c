import { setTimeout as pause } from 'node:timers/promises';
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
/** After a failure it is not tried again before this time. */
const PAUSE_MS = 60_000;

/** What is shown of one. */
export interface SessionPage {
  app: string;
  owner: number;
  state: Session['state'];
  instances: number;
  takenMs: number;
  problem?: string;
}

const expected = (session: Session): Entered => {
  session.expect();
  return { session };
};

/** All sessions of the daemon. */
export class Sessions {
  readonly #parts: SessionParts;
  readonly #all = new Map<string, Session>();
  readonly #failures = new Map<string, { text: string; atMs: number }>();
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> = Promise.resolve();

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** The session for a launch, which is expected then, if its memory is there within `budgetMs`; filling goes on behind one that starts without. */
  async enter(wanted: Wanted, budgetMs: number): Promise<Entered> {
    const late = performance.now() + budgetMs;
    const session = this.#all.get(wanted.name) ?? this.#begin(wanted);
    if ('standard' in session) return session;
    for (;;) {
      const { state, problem } = session;
      if (state === 'serving') return expected(session);
      if (state === 'filled') return await this.#entered(session);
      if (state === 'gone')
        return { standard: this.#failures.get(wanted.name)?.text ?? 'it has just ended' };
      if (performance.now() > late)
        return state === 'ending'
          ? {
              refused: `what it wrote is being brought to the disk${problem ? `: ${problem}` : ''}`,
            }
          : { standard: 'its folders are not in memory yet; the next start has them there' };
      await pause(5);
    }
  }

  async #entered(session: Session): Promise<Entered> {
    if (await session.isFresh()) return expected(session);
    await session.discard();
    this.#all.delete(session.wanted.name);
    this.#begin(session.wanted);
    return { standard: 'its folders have changed since they came into memory' };
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
      this.#all.delete(name);
    });
    this.#wait();
    return session;
  }

  /** Takes up what an earlier daemon or boot has left. Before callers are served; what takes long goes on behind it. */
  async recover(): Promise<void> {
    for (const row of await readServed(this.#parts.store)) {
      const session = new Session(this.#parts, row, row);
      session.state = 'ending';
      this.#all.set(row.name, session);
      void session.resume();
    }
    this.#wait();
  }

  #wait(): void {
    if (this.#timer !== undefined || this.#all.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#ticking = this.#tick().finally(() => this.#wait());
    }, TICK_MS).unref();
  }

  async #tick(): Promise<void> {
    await Promise.all(
      [...this.#all].map(async ([name, session]) => {
        await session.tick();
        const idle = session.state === 'filled' && session.unsavedMs > IDLE_MS;
        if (idle) await session.discard();
        if (session.state === 'gone' && this.#all.get(name) === session) this.#all.delete(name);
      }),
    );
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
   * answers the names of those that are still being written.
   */
  async syncNow(owner?: number, app?: string, withinMs?: number): Promise<ReadonlySet<string>> {
    const sessions = this.#of(owner, app);
    const late = new Set(sessions.map(({ wanted }) => wanted.name));
    const all = Promise.all(
      sessions.map(async (one) => {
        await one.syncNow().catch(() => undefined);
        late.delete(one.wanted.name);
      }),
    );
    if (withinMs === undefined) await all;
    else await Promise.race([all, pause(withinMs, undefined, { ref: false })]);
    return new Set(late);
  }

  pages(owner?: number, app?: string): SessionPage[] {
    return this.#of(owner, app).map(({ wanted, state, instances, takenMs, problem }) => ({
      app: wanted.app,
      owner: wanted.owner,
      state,
      instances,
      takenMs,
      ...(problem === undefined ? {} : { problem }),
    }));
  }

  /** Everything is written back; memory of what runs stays for the next daemon. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#ticking;
    clearTimeout(this.#timer);
    await Promise.all([...this.#all.values()].map((one) => one.close().catch(() => undefined)));
  }
}
