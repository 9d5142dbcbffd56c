import { type Side, sides } from '../observation.ts';
import type { Goals, Policy } from '../policy.ts';
import type { SimulatedMachine } from './machine.ts';

/** Protections that give memory to the hottest pages of both sides first; where a heat does not fit whole, in proportion. */
function bestLows(machine: SimulatedMachine, second: number, room: number): Record<Side, number> {
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
  return low;
}

/** What can be shared out: the kernel keeps the rest free. */
const ROOM = 0.99;

const goalsOf = ({ user, system }: Record<Side, number>): Goals => ({
  user: { lowBytes: user },
  system: { lowBytes: system },
});

/**
 * The best that protections can do with perfect knowledge. It writes as often as it likes, and knows of one machine
 * only.
 */
export function oraclePolicy(machine: SimulatedMachine): Policy<null> {
  return {
    name: 'oracle',
    summary: 'For comparison: knows what every page will be used for.',
    decide: ({ now }) => ({
      state: null,
      goals: goalsOf(bestLows(machine, now.atMs / 1000, now.totalBytes * ROOM)),
      why: [],
    }),
  };
}

/** The band with which it writes as seldom as a policy may: some ten times an hour. */
const BAND = 0.05;
/** Heats of the working set. */
const WORKING = 3;

/**
 * The same knowledge with few writes: shares change only when memory is short, a side's working set is not covered, and
 * the change is worth it. It tells what few writes cost, whatever is known.
 * @param band of the memory: a smaller change is not worth its writes
 */
export function rareOraclePolicy(machine: SimulatedMachine, band = BAND): Policy<{ part: number }> {
  return {
    name: 'rare-oracle',
    summary: 'For comparison: knows as much as the oracle, and writes seldom.',
    decide({ now }, state = { part: 0.5 }) {
      const { totalBytes, sides: seen } = now;
      const second = now.atMs / 1000;
      const room = totalBytes * ROOM;
      const wants = machine.wanted(second);
      const working = (side: Side) =>
        wants[side].slice(0, WORKING).reduce((all, one) => all + one, 0);
      const held = (seen.user?.currentBytes ?? 0) + (seen.system?.currentBytes ?? 0);
      const best = bestLows(machine, second, room);
      const wanted = best.user / Math.max(1, best.user + best.system);
      const covered =
        working('user') <= state.part * room && working('system') <= (1 - state.part) * room;
      const due = !covered && room - held < 0.03 * totalBytes;
      const part = due && Math.abs(wanted - state.part) > band ? wanted : state.part;
      const goals = goalsOf({ user: part * room, system: (1 - part) * room });
      return { state: { part }, goals, why: [] };
    },
  };
}
