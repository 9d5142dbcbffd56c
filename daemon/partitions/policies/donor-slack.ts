import { type Observation, otherSide, type Side, sides } from '../observation.ts';
import type { Policy } from '../policy.ts';
import type { Sizes } from './threshold.ts';

interface State {
  sizes: Sizes;
  movedAtMs?: number;
}

/** What the giving side keeps above its use; least change, of the total; between two moves. */
const HEADROOM = 1.08;
const DEAD_BAND = 0.02;
const COOL_DOWN_MS = 15_000;
/** Its own bound: it was published without the 20 % of the specification. */
const LEAST = 0.1;
const STEP_FACTOR = 1.25;

const waited = (before: Observation, now: Observation, side: Side): boolean =>
  (now.sides[side]?.pressure?.someUs ?? 0) > (before.sides[side]?.pressure?.someUs ?? 0);

/** For comparison: limits that move only when one side waits and the other has slack, by what is lacking. */
export const donorSlack: Policy<State> = {
  name: 'donor-slack',
  summary: 'For comparison: limits that move when one side waits and the other has slack.',
  decide({ settings, now, before }, state) {
    const even = { user: settings.userShare, system: 1 - settings.userShare };
    let { sizes, movedAtMs } = state ?? { sizes: even };
    const rested = movedAtMs === undefined || now.atMs - movedAtMs >= COOL_DOWN_MS;
    for (const side of sides) {
      const [own, other] = [now.sides[side], now.sides[otherSide(side)]];
      if (!before || !own || !other || !rested || !waited(before, now, side)) continue;
      const giver = otherSide(side);
      const slack = sizes[giver] - (other.currentBytes / now.totalBytes) * HEADROOM;
      const lacked = ((own.refaults ?? 0) - (before.sides[side]?.refaults ?? 0)) * 4096;
      const step = Math.min(
        slack,
        Math.max(DEAD_BAND, (STEP_FACTOR * lacked) / now.totalBytes),
        sizes[giver] - LEAST,
      );
      if (step < DEAD_BAND) continue;
      sizes = { ...sizes, [side]: sizes[side] + step, [giver]: sizes[giver] - step };
      movedAtMs = now.atMs;
      break;
    }
    const goal = (side: Side) => ({ lowBytes: 0, highBytes: sizes[side] * now.totalBytes });
    const goals = { user: goal('user'), system: goal('system') };
    return { state: { sizes, ...(movedAtMs !== undefined && { movedAtMs }) }, goals, why: [] };
  },
};
