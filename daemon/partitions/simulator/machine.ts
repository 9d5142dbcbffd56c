import type { Knob } from '../knobs.ts';
import type { Amount, Observation, Side } from '../observation.ts';

/** What one second did to a side, in bytes. */
export interface SideSecond {
  /** What the side lacked: see the model for what counts. */
  shortBytes: number;
  /** The part of it that the other side or free memory could have covered. */
  avoidableBytes: number;
  /** Taken away although still wanted. */
  reclaimedBytes: number;
  /** Fetched again. */
  refaultedBytes: number;
  /** Share of the second in which tasks waited. */
  waited: number;
}

export type Second = Record<Side, SideSecond>;

/** A pair of sides that exists only here. Its knobs are those of the kernel, its observations those of a look. */
export interface SimulatedMachine {
  /** Lives through one second, with the knobs as they are. */
  advance(second: number): Second;
  observe(second: number): Observation;
  read(side: Side, knob: Knob): Amount;
  /** Answers what the knob says afterwards. */
  write(side: Side, knob: Knob, value: Amount): Amount;
  /** Bytes that each side wants to use in this second: what only an oracle knows. Hottest first. */
  wanted(second: number): Record<Side, readonly number[]>;
}

/** The knobs of a simulated side. */
export interface SideKnobs {
  low: number;
  high: number;
}

/** No limit, as a number. */
export const FREE: SideKnobs = { low: 0, high: Number.POSITIVE_INFINITY };

/** The knob's value in the words of the kernel. */
export const amountOf = (bytes: number): Amount => (Number.isFinite(bytes) ? bytes : 'max');

/** Reads and writes these knobs. */
export function knobAccess(
  knobs: Record<Side, SideKnobs>,
): Pick<SimulatedMachine, 'read' | 'write'> {
  const field = (knob: Knob) => (knob === 'memory.low' ? 'low' : 'high');
  const read = (side: Side, knob: Knob) => amountOf(knobs[side][field(knob)]);
  return {
    read,
    write(side, knob, value) {
      knobs[side][field(knob)] = value === 'max' ? Number.POSITIVE_INFINITY : value;
      return read(side, knob);
    },
  };
}
