import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { type Side, sides } from './observation.ts';
import type { Policy, Reason } from './policy.ts';
import type { PolicySettings } from './policy-settings.ts';
import { type SpaceSeen, totalOf } from './space-look.ts';
import { type SpaceMove, type SpaceState, type SpaceStep, spaceStep } from './space-step.ts';
import { tickMs } from './ticks.ts';

/** Decisions that moved something, kept for `explain`. */
const movesKept = 32;
/** A move that failed is tried again after this, each time twice as long, up to the second. */
const firstBackOffMs = 60_000;
const longestBackOffMs = 3_600_000;
/** So much more or less used is something to see: a share of the total. */
const usedMore = 0.001;

/** Where space is moved: the volumes of this machine, or of a test. */
export interface SpaceGround {
  /** Both volumes, or why there is nothing to govern. Cheap. */
  look(): SpaceSeen | { obstacle: string };
  /** Carries a move out as a change. Rejects when it failed; resolves with what the taker has got. */
  move(move: SpaceMove, why: string): Promise<{ change: number; bytes: number }>;
}

/** What the loop works with. */
export interface SpaceParts {
  ground: SpaceGround;
  /** The policy in force, and what it goes by. */
  choice(): { policy: Policy; settings: PolicySettings };
  log: Log;
  /** Milliseconds since boot, sleep included. */
  nowMs(): number;
  wallMs(): number;
}

/** One look at the volumes, as it is explained. */
export interface SpaceDecision {
  /** Milliseconds since 1970. */
  atMs: number;
  policy: string;
  sizes: Record<Side, number>;
  why: Reason[];
  move?: SpaceMove & { state: 'done' | 'failed'; change?: number; detail?: string };
}

/** A move that failed, and when it may be tried again. */
export interface SpaceFailure {
  text: string;
  times: number;
  /** CLOCK_BOOTTIME. */
  untilMs: number;
}

/** Looks at both volumes, decides, and has space moved, as often as there is something to see. */
export class SpaceLoop {
  readonly #parts: SpaceParts;
  #state: SpaceState = {};
  #seen: SpaceSeen | undefined;
  #obstacle: string | undefined;
  #decision: SpaceDecision | undefined;
  #moves: SpaceDecision[] = [];
  #failure: SpaceFailure | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  /** CLOCK_BOOTTIME of the last look that saw something. */
  #sawMs = 0;
  #stopped = false;

  constructor(parts: SpaceParts) {
    this.#parts = parts;
  }

  get decision(): SpaceDecision | undefined {
    return this.#decision;
  }
  /** The newest decisions that moved something or tried to, the oldest first. */
  get moves(): readonly SpaceDecision[] {
    return this.#moves;
  }
  /** The last move, when it failed. */
  get failure(): SpaceFailure | undefined {
    return this.#failure;
  }
  /** Why there is nothing to govern, or undefined. */
  get obstacle(): string | undefined {
    return this.#obstacle;
  }

  start(): void {
    this.#sawMs = this.#parts.nowMs();
    void this.tick().finally(() => this.#wait());
  }

  /** No more looks; a move that runs is the engine's to end. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Resolves when no turn runs or waits. */
  settled(): Promise<void> {
    return this.#running;
  }

  #wait(): void {
    if (this.#stopped) return;
    const next = () => void this.tick().finally(() => this.#wait());
    this.#timer = setTimeout(next, tickMs(false, this.#parts.nowMs() - this.#sawMs)).unref();
  }

  /** One turn, after whatever runs. Never throws. */
  tick(): Promise<void> {
    this.#running = this.#running
      .then(() => this.#tick())
      .catch((err: unknown) => {
        this.#parts.log.warn({ err }, 'cannot look at the volumes');
      });
    return this.#running;
  }

  async #tick(): Promise<void> {
    const { ground, nowMs, choice } = this.#parts;
    const atMs = nowMs();
    const seen = ground.look();
    this.#obstacle = 'obstacle' in seen ? seen.obstacle : undefined;
    if ('obstacle' in seen) {
      this.#state = {};
      return;
    }
    if (this.#isNew(seen)) this.#sawMs = atMs;
    this.#seen = seen;
    const { policy: law, settings } = choice();
    const input = { policy: law, settings, seen, atMs, state: this.#state };
    const step = spaceStep(input);
    const { sizes, why } = step;
    const decision: SpaceDecision = { atMs: this.#parts.wallMs(), policy: law.name, sizes, why };
    const waits = this.#waits(step, atMs);
    if (waits !== undefined) why.push(waits);
    if (step.move === undefined || waits !== undefined) {
      this.#state = { ...this.#state, ...(step.state.before && { before: step.state.before }) };
      this.#decision = { ...decision, sizes: sizesOf(seen) };
      return;
    }
    this.#decision = await this.#move(step.move, decision, seen);
    const moved = this.#decision.move?.state === 'done' ? step.state : this.#state;
    this.#state = { ...moved, ...(step.state.before && { before: step.state.before }) };
    this.#moves = [...this.#moves, this.#decision].slice(-movesKept);
  }

  /** Why a move that is called for has to wait: the last one failed. Forgets that when nothing is called for any more. */
  #waits({ move }: SpaceStep, atMs: number): Reason | undefined {
    const failed = this.#failure;
    if (failed === undefined) return undefined;
    const leftMs = failed.untilMs - atMs;
    if (leftMs <= 0) {
      if (move === undefined) this.#failure = undefined;
      return undefined;
    }
    if (move === undefined) return undefined;
    const text = `the last move failed (${failed.text}); tried again in ${Math.ceil(leftMs / 1000)} s`;
    return { rule: 'failed', text };
  }

  /** Some use or some size is another one than at the last look. */
  #isNew(seen: SpaceSeen): boolean {
    const last = this.#seen;
    if (last === undefined) return true;
    const much = usedMore * totalOf(seen);
    return sides.some(
      (side) =>
        seen[side].sizeBytes !== last[side].sizeBytes ||
        Math.abs(seen[side].usedBytes - last[side].usedBytes) >= much,
    );
  }

  async #move(move: SpaceMove, decision: SpaceDecision, seen: SpaceSeen): Promise<SpaceDecision> {
    const { ground, log } = this.#parts;
    const asked = decision.why.filter(({ side }) => side !== undefined);
    const why = `${decision.policy}: ${asked.map(({ side, text }) => `${side}, ${text}`).join('; ')}`;
    try {
      const { change, bytes } = await ground.move(move, why);
      log.info({ ...move, change, why }, 'space has changed sides');
      if (bytes === move.bytes) {
        this.#failure = undefined;
        return { ...decision, move: { ...move, state: 'done', change } };
      }
      const detail = `the disk had only ${formatSize(bytes)} left for volume ${move.to}`;
      this.#fail(detail);
      return { ...decision, move: { ...move, bytes, state: 'done', change, detail } };
    } catch (err) {
      const detail = err instanceof Error ? err.message : String(err);
      this.#fail(detail);
      log.warn({ err, ...move }, 'cannot move space to a volume');
      return { ...decision, sizes: sizesOf(seen), move: { ...move, state: 'failed', detail } };
    }
  }

  #fail(text: string): void {
    const times = (this.#failure?.times ?? 0) + 1;
    const backOffMs = Math.min(longestBackOffMs, firstBackOffMs * 2 ** (times - 1));
    this.#failure = { text, times, untilMs: this.#parts.nowMs() + backOffMs };
  }
}

function sizesOf({ user, system }: SpaceSeen): Record<Side, number> {
  return { user: user.sizeBytes, system: system.sizeBytes };
}
