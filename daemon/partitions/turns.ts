import { type Applied, applyWrites, knobPlace } from './apply.ts';
import { knobKey, leaveAloneMs, type Theirs, whoseKnobs } from './knob-owners.ts';
import { knobAmount, knobOfFile } from './knobs.ts';
import { isOurs } from './lease.ts';
import type { Leases, Returned } from './leases.ts';
import { type Observation, sides } from './observation.ts';
import type { Places } from './places.ts';
import type { Goals } from './policy.ts';
import { type StepInput, type StepState, step } from './step.ts';
import { stillQuiet } from './ticks.ts';

/** What turns are taken with. */
export interface TurnParts {
  places: Places;
  leases: Leases;
}

/** How one turn is taken. */
export interface TurnInput extends Omit<StepInput, 'state'> {
  /** Knobs may be turned; else it is only said what would be. */
  manage: boolean;
}

/** What one turn came to. */
export interface Turn extends Omit<ReturnType<typeof step>, 'writes' | 'state'> {
  writes: Applied[];
  /** Leases that others have ended. */
  lost: Returned[];
}

/**
 * Turns one after the other: whose the knobs are, what follows from a look, and its writes under leases. The machine's
 * loop and the simulator take these same turns.
 */
export class Turns {
  readonly #parts: TurnParts;
  #state: StepState | undefined;
  #theirs = new Map<string, Theirs>();

  constructor(parts: TurnParts) {
    this.#parts = parts;
  }

  /** Knobs that others turn. */
  get theirs(): readonly Theirs[] {
    return [...this.#theirs.values()];
  }

  /** What the last turn was after. */
  get goals(): Goals | undefined {
    return this.#state?.goals;
  }

  /** What the policy has kept in mind is forgotten: the next turn is as the first. */
  beginAnew(): void {
    this.#state = undefined;
  }

  /** Nothing was to be seen since the last look. */
  quiet(atMs: number): void {
    this.#state = stillQuiet(this.#state, atMs);
  }

  async take({ manage, ...input }: TurnInput): Promise<Turn> {
    const { leases, places } = this.#parts;
    const { now } = input;
    const lost = this.#lostSome(now) ? await leases.check() : [];
    this.#lose(lost, now);
    this.#theirs = whoseKnobs(
      now,
      (side, knob) => places.memory && leases.find(knobPlace(places, side, knob)),
      this.#theirs,
    );
    const { state, goals, why, writes } = step({ ...input, state: this.#state });
    this.#state = state;
    await leases.tellManager();
    const applied: Applied[] = manage
      ? await applyWrites(leases, places, writes, this.#theirs)
      : writes.map((write) => ({ ...write, state: 'only-observed' }));
    return { goals, why, writes: applied, lost };
  }

  /** Some lease's knob has another value than ours, or its group is another one. */
  #lostSome(now: Observation): boolean {
    const { leases, places } = this.#parts;
    return leases.all().some((lease) => {
      const side = sides.find((one) => places.groups[one] === lease.group);
      const seen = side && now.sides[side];
      const knob = knobOfFile(lease.knob);
      if (knob === undefined) return false;
      const value = knob === 'memory.low' ? seen?.low : seen?.high;
      return seen?.group !== lease.inode || value === undefined || !isOurs(lease, String(value));
    });
  }

  /** What others have written is theirs for a while. */
  #lose(returned: readonly Returned[], now: Observation): void {
    for (const { lease, state, detail } of returned) {
      const side = sides.find((one) => this.#parts.places.groups[one] === lease.group);
      const value = knobAmount(detail ?? '');
      const knob = knobOfFile(lease.knob);
      if (state !== 'changed-since' || side === undefined || value === undefined) continue;
      if (knob === undefined) continue;
      const untilMs = now.atMs + leaveAloneMs;
      this.#theirs.set(knobKey(side, knob), { side, knob, value, untilMs });
    }
  }
}
