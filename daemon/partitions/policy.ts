import type { Observation, Side } from './observation.ts';
import type { PolicySettings } from './policy-settings.ts';

/** What a side's knobs are to be, in bytes. */
export interface Goal {
  /** Memory that is left to the side while others can give some (`memory.low`). 0: none. */
  lowBytes: number;
  /** Above this the side is held back and gives memory away (`memory.high`). Absent: no limit. */
  highBytes?: number;
}

export type Goals = Record<Side, Goal>;

/** No protection, no limit: how the kernel starts. */
export const untouched: Goals = { user: { lowBytes: 0 }, system: { lowBytes: 0 } };

/** An application that is about to start, and what it will need. Taken until it expires (`hints.ts`). */
export interface Hint {
  /** Type of the application, for `explain`. */
  type: string;
  side: Side;
  /** Memory that it is expected to need. */
  bytes: number;
  /** On the clock of `Observation.atMs`. */
  expiresAtMs: number;
}

/** Why a decision is as it is: one line of `explain`. */
export interface Reason {
  /** Stable name: lower case with hyphens. */
  rule: string;
  side?: Side;
  /** One sentence with the figures that decided. */
  text: string;
}

/** All that a policy may look at. */
export interface PolicyInput {
  settings: PolicySettings;
  now: Observation;
  /** The look before. Absent at start and after a pause: nothing can be said of what happened between. */
  before?: Observation;
  /** None has expired, none is out of its limits. */
  hints: readonly Hint[];
}

export interface Decision<State> {
  state: State;
  goals: Goals;
  why: Reason[];
}

/**
 * A law of sharing. `decide` is pure: the same arguments give the same decision. Its state is plain data (JSON), and
 * losing it - a restart - costs time, never sense: it begins with the knobs as they are seen, or with even shares.
 */
export interface Policy<State = unknown> {
  name: string;
  /** One sentence for help. */
  summary: string;
  decide(input: PolicyInput, state: State | undefined): Decision<State>;
}

/** A policy among others, whose state is its own business. */
export const anyPolicy = <State>(policy: Policy<State>): Policy => policy as unknown as Policy;
