import { type Side, sides } from '../observation.ts';
import { type Model, machineOf } from './comparison.ts';
import type { SwapOn } from './heat.ts';
import type { Scenario } from './scenario.ts';
import type { Recorded } from './trace.ts';

/** How one side of a recorded machine and the simulated one are alike. */
export interface Likeness {
  /** Mean distance of what the side holds, as a share of all memory, 0 to 1. */
  heldOff: number;
  /** Share of the time in which its tasks waited: as it was recorded, and on the simulator. */
  recorded: number;
  derived: number;
}

const mean = (sum: number, count: number): number => (count === 0 ? 0 : sum / count);

/** Plays a recorded trace with nothing managed, as it should have been recorded, and holds both against each other. */
export function likeness(
  model: Model,
  scenario: Scenario,
  recorded: Recorded,
  swapOn?: SwapOn,
): Record<Side, Likeness> {
  const { totalBytes, seconds } = scenario;
  const machine = machineOf(model, scenario, swapOn);
  const sums = sides.map((side) => ({ side, off: 0, told: 0, recorded: 0, derived: 0 }));
  for (let second = 0; second < seconds; second++) {
    const done = machine.advance(second);
    const seen = machine.observe(second);
    for (const sum of sums) {
      const { side } = sum;
      const held = seen.sides[side]?.currentBytes ?? 0;
      sum.off += Math.abs(held - (recorded.held[side][second] as number)) / totalBytes;
      const waited = recorded.waited[side][second] as number;
      if (Number.isNaN(waited)) continue;
      sum.told++;
      sum.recorded += waited;
      sum.derived += done[side].waited;
    }
  }
  const of = ({ off, told, recorded: was, derived }: (typeof sums)[number]): Likeness => ({
    heldOff: mean(off, seconds),
    recorded: mean(was, told),
    derived: mean(derived, told),
  });
  const [user, system] = sums.map(of) as [Likeness, Likeness];
  return { user, system };
}
