import { type Side, sides } from '../observation.ts';
import type { Goals, Policy } from '../policy.ts';
import type { SimulatedMachine } from './machine.ts';

/**
 * The best that protections can do with perfect knowledge: memory goes to the hottest pages of both sides first, and
 * where a heat does not fit whole, in proportion. It writes as often as it likes, and knows of one machine only.
 */
export function oraclePolicy(machine: SimulatedMachine): Policy<null> {
  const goals = (second: number, room: number): Goals => {
    const wants = machine.wanted(second);
    const low: Record<Side, number> = { user: 0, system: 0 };
    let left = room;
    for (let heat = 0; heat < wants.user.length && left > 0; heat++) {
      const asked = sides.map((side) => wants[side][heat] ?? 0);
      const sum = asked.reduce((all, one) => all + one, 0);
      const part = sum > 0 ? Math.min(1, left / sum) : 0;
      for (const [at, side] of sides.entries()) low[side] += (asked[at] as number) * part;
      left -= sum * part;
    }
    return { user: { lowBytes: low.user }, system: { lowBytes: low.system } };
  };
  return {
    name: 'oracle',
    summary: 'For comparison: knows what every page will be used for.',
    decide: ({ now }) => ({
      state: null,
      goals: goals(now.atMs / 1000, now.totalBytes * 0.99),
      why: [],
    }),
  };
}
