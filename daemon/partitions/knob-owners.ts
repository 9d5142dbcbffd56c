import { freeValue, type Knob } from './knobs.ts';
import { isTheirs, type Lease } from './lease.ts';
import { type Amount, type Observation, type Side, sides } from './observation.ts';

/** A knob that is not ours to turn. */
export interface Theirs {
  side: Side;
  knob: Knob;
  /** What they have set, as it was last seen. */
  value: Amount;
  /** It stays theirs until then, also when they let go of it: two writers would only chase each other. */
  untilMs: number;
}

/** How long a knob is left alone after somebody else has written it. */
export const leaveAloneMs = 10 * 60_000;

export type TheirKnobs = ReadonlyMap<string, Theirs>;

/** One knob of one side. */
export const knobKey = (side: Side, knob: Knob): string => `${side} ${knob}`;

/**
 * Whose the knobs are: one that has a value without being leased was set by somebody, and one that has lost our value
 * to another one than the old was written since. Pure.
 */
export function whoseKnobs(
  now: Observation,
  leaseOf: (side: Side, knob: Knob) => Lease | undefined,
  before: TheirKnobs,
): Map<string, Theirs> {
  const theirs = new Map<string, Theirs>();
  for (const side of sides)
    for (const knob of ['memory.low', 'memory.high'] as const) {
      const seen = now.sides[side];
      const value = knob === 'memory.low' ? seen?.low : seen?.high;
      if (value === undefined) continue;
      const lease = leaseOf(side, knob);
      const key = knobKey(side, knob);
      const known = before.get(key);
      const taken = lease ? isTheirs(lease, String(value)) : value !== freeValue[knob];
      if (taken) theirs.set(key, { side, knob, value, untilMs: now.atMs + leaveAloneMs });
      else if (known !== undefined && known.untilMs > now.atMs)
        theirs.set(key, { ...known, value });
    }
  return theirs;
}
