import { type Observation, type Side, sides } from '../observation.ts';
import type { Goal, Goals, Policy } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';

interface SideState {
  high: number;
  /** Waiting since the last change of the limit. */
  waitedUs: number;
  quietMs: number;
}

type State = Partial<Record<Side, SideState>>;

/** One side's next limit. The asymmetry is the law: back at once, down by a hundredth at most. */
function next(
  was: SideState,
  waitedUs: number,
  ms: number,
  { senpai, minShare }: PolicySettings,
  total: number,
): SideState {
  const { targetUs, intervalMs, maxProbe, coefficientProbe, coefficientBackoff } = senpai;
  const waited = was.waitedUs + waitedUs;
  const bounded = (high: number) => Math.min(total, Math.max(minShare * total, high));
  if (waited > targetUs) {
    const back = Math.min(1, (waited / targetUs / coefficientBackoff) ** 2);
    return { high: bounded(was.high * (1 + back)), waitedUs: 0, quietMs: 0 };
  }
  const quietMs = was.quietMs + ms;
  if (quietMs < intervalMs) return { high: was.high, waitedUs: waited, quietMs };
  const probe = Math.min(maxProbe, (targetUs / Math.max(1, waited) / coefficientProbe) ** 2);
  return { high: bounded(was.high * (1 - probe)), waitedUs: 0, quietMs: 0 };
}

const waitedUs = (before: Observation, now: Observation, side: Side): number | undefined => {
  const [was, is] = [before.sides[side], now.sides[side]];
  if (!was?.pressure || !is?.pressure || was.group !== is.group) return undefined;
  const us = is.pressure.someUs - was.pressure.someUs;
  return us < 0 ? undefined : us;
};

/** For comparison, after Senpai (facebookincubator): each side's limit seeks the least memory that barely makes it wait. */
export const senpaiLike: Policy<State> = {
  name: 'senpai-like',
  summary: 'For comparison: each limit seeks the size at which its side barely waits.',
  decide({ settings, now, before }, state = {}) {
    const after: State = {};
    const goals: Goals = { user: { lowBytes: 0 }, system: { lowBytes: 0 } };
    for (const side of sides) {
      const seen = now.sides[side];
      const us = before && waitedUs(before, now, side);
      if (!seen || !before || us === undefined) continue;
      const was = state[side] ?? { high: seen.currentBytes, waitedUs: 0, quietMs: 0 };
      const one = next(was, us, now.atMs - before.atMs, settings, now.totalBytes);
      after[side] = one;
      const goal: Goal = { lowBytes: 0, highBytes: one.high };
      goals[side] = goal;
    }
    return { state: after, goals, why: [] };
  },
};
