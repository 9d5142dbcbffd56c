import { type Amount, type Side, sides } from '../observation.ts';
import type { Goals, Policy } from '../policy.ts';

interface State {
  high: Partial<Record<Side, number>>;
  /** Since when there has been enough memory. */
  enoughSinceMs?: number;
}

/** Each side keeps this much of the total. */
const LEAST = 0.1;

const goalsOf = ({ high }: State): Goals => {
  const one = (bytes: number | undefined) => ({
    lowBytes: 0,
    ...(bytes !== undefined && { highBytes: bytes }),
  });
  return { user: one(high.user), system: one(high.system) };
};

/**
 * For comparison, after memavaild (MIT): when the machine has little memory left, the side that uses most beyond its
 * share is limited below what it has; limits go when there has been enough for a while, or swap is full.
 */
export const memavaildLike: Policy<State> = {
  name: 'memavaild-like',
  summary: 'For comparison: limits the greater side while available memory is short.',
  decide({ settings, now }, state = { high: {} }) {
    const { tightenBelow, releaseAbove, releaseAfterMs, stepBytes } = settings.memavaild;
    const available = now.availableBytes / now.totalBytes;
    const share = { user: settings.userShare, system: 1 - settings.userShare };
    const over = (side: Side) =>
      (now.sides[side]?.currentBytes ?? 0) - share[side] * now.totalBytes;
    const next: State = { high: { ...state.high } };
    if (now.swapFreeBytes < settings.guard.swapFreeBytes) next.high = {};
    else if (available < tightenBelow) {
      const [side] = [...sides].sort((one, other) => over(other) - over(one));
      const seen = side && now.sides[side];
      if (side && seen) {
        const held: Amount = next.high[side] ?? 'max';
        const wanted = Math.max(LEAST * now.totalBytes, seen.currentBytes - stepBytes);
        next.high[side] = held === 'max' ? wanted : Math.min(held, wanted);
      }
    } else if (available > releaseAbove) {
      next.enoughSinceMs = state.enoughSinceMs ?? now.atMs;
      if (now.atMs - next.enoughSinceMs >= releaseAfterMs) next.high = {};
    }
    return { state: next, goals: goalsOf(next), why: [] };
  },
};
