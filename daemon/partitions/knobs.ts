import type { Amount, Side } from './observation.ts';

/** The knobs that a policy turns. `memory.max` is none of them. */
export type Knob = 'memory.low' | 'memory.high';

/** What a knob is without us. */
export const freeValue: Readonly<Record<Knob, Amount>> = { 'memory.low': 0, 'memory.high': 'max' };

/** One write that a plan asks for. */
export interface KnobWrite {
  side: Side;
  knob: Knob;
  value: Amount;
}

/**
 * How goals reach the sides: a real pair of cgroups, or a simulated one. Whoever applies a plan journals the lease
 * first (old value and new), then writes, and keeps what was read back.
 */
export interface Knobs {
  /** The value now. Undefined: the group has gone, or has no such knob. */
  read(side: Side, knob: Knob): Promise<Amount | undefined>;
  /**
   * Writes, and answers what the knob says afterwards: the kernel rounds to pages. Undefined as with `read`. A write
   * that lowers `memory.high` may block while memory is reclaimed: a deadline is the implementation's business.
   */
  write(write: KnobWrite): Promise<Amount | undefined>;
}
