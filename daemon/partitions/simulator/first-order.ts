import type { Observation, Side } from '../observation.ts';
import {
  amountOf,
  FREE,
  knobAccess,
  type Second,
  type SideKnobs,
  type SideSecond,
  type SimulatedMachine,
} from './machine.ts';
import type { Scenario } from './scenario.ts';

/** What both sides hold when they want this much: limits, then protections, then what is left in proportion. */
function share(
  wants: Record<Side, number>,
  knobs: Record<Side, SideKnobs>,
  total: number,
): Record<Side, number> {
  const cap = (side: Side) => Math.min(wants[side], knobs[side].high);
  const [user, system] = [cap('user'), cap('system')];
  const excess = user + system - total;
  if (excess <= 0) return { user, system };
  const over = {
    user: Math.max(0, user - knobs.user.low),
    system: Math.max(0, system - knobs.system.low),
  };
  const sum = over.user + over.system;
  const taken = Math.min(excess, sum);
  // What protections cannot keep is taken by size.
  const rest = excess - taken;
  const part = (side: Side, held: number) =>
    held - (sum > 0 ? (taken * over[side]) / sum : 0) - (rest * held) / (user + system);
  return { user: part('user', user), system: part('system', system) };
}

/** Sums of what the programs of a side want, second by second. */
function wantsOf({ sides: flows, seconds }: Scenario, side: Side): Float64Array {
  const wants = new Float64Array(seconds);
  const { start, endActive, endIdle } = flows[side];
  let sum = 0;
  for (let second = 0; second < seconds; second++) {
    sum += (start[second] as number) - (endActive[second] as number) - (endIdle[second] as number);
    wants[second] = Math.max(0, sum);
  }
  return wants;
}

/**
 * The model without page heat: every byte that is wanted is wanted all the time, and comes and goes at once. A side
 * is short of what it wants and may not hold. Memory could have covered that while some of it lay free.
 */
export function firstOrderMachine(scenario: Scenario): SimulatedMachine {
  const { totalBytes } = scenario;
  const wants = { user: wantsOf(scenario, 'user'), system: wantsOf(scenario, 'system') };
  const knobs = { user: { ...FREE }, system: { ...FREE } };
  const lostUs = { user: 0, system: 0 };
  const refaults = { user: 0, system: 0 };
  let held: Record<Side, number> = { user: 0, system: 0 };
  const at = (side: Side, second: number) => wants[side][second] as number;

  const advance = (second: number): Second => {
    const want = { user: at('user', second), system: at('system', second) };
    const now = share(want, knobs, totalBytes);
    const free = totalBytes - now.user - now.system;
    const short = { user: want.user - now.user, system: want.system - now.system };
    const sum = short.user + short.system;
    const one = (side: Side): SideSecond => {
      const shortBytes = Math.max(0, short[side]);
      const waited = shortBytes > 0 ? Math.min(1, shortBytes / Math.max(1, want[side])) : 0;
      lostUs[side] += waited * 1e6;
      refaults[side] += shortBytes / 4096;
      return {
        shortBytes,
        avoidableBytes: sum > 0 ? (Math.min(sum, Math.max(0, free)) * shortBytes) / sum : 0,
        reclaimedBytes: Math.max(0, Math.min(held[side], want[side]) - now[side]),
        refaultedBytes: 0,
        waited,
      };
    };
    const answer = { user: one('user'), system: one('system') };
    held = now;
    return answer;
  };

  const observe = (second: number): Observation => {
    const one = (side: Side) => ({
      group: side,
      currentBytes: held[side],
      anonBytes: held[side],
      fileBytes: 0,
      refaults: refaults[side],
      pressure: { someUs: lostUs[side], fullUs: 0 },
      low: knobs[side].low,
      high: amountOf(knobs[side].high),
    });
    return {
      atMs: second * 1000,
      totalBytes,
      availableBytes: totalBytes - held.user - held.system,
      swapTotalBytes: totalBytes,
      swapFreeBytes: totalBytes,
      sides: { user: one('user'), system: one('system') },
    };
  };
  const wanted = (second: number) => ({
    user: [at('user', second)],
    system: [at('system', second)],
  });
  return { advance, observe, wanted, ...knobAccess(knobs) };
}
