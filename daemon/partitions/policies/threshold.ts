import { type Observation, otherSide, type Side, sides } from '../observation.ts';
import type { Policy, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';

/** The size of each side, as a share of the total. */
export type Sizes = Record<Side, number>;

/** Where it goes on after a restart: sizes as the knobs have them, if they are ours to tell; else even ones. */
function sizesSeen({ sides: seen, totalBytes }: Observation, settings: PolicySettings): Sizes {
  const [user, system] = [seen.user?.high, seen.system?.high];
  if (typeof user === 'number' && typeof system === 'number') {
    const sizes = { user: user / totalBytes, system: system / totalBytes };
    const bounded = sides.every(
      (side) => sizes[side] >= settings.minShare && sizes[side] <= settings.maxShare,
    );
    if (bounded) return sizes;
  }
  return { user: settings.userShare, system: 1 - settings.userShare };
}

/** Sizes after one step in favour of `side`. The other side stays above its least size. */
function moved(sizes: Sizes, side: Side, settings: PolicySettings): Sizes {
  const { minShare, maxShare, threshold } = settings;
  const other = otherSide(side);
  const next = { ...sizes };
  if (threshold.stepOf === 'size') {
    next[side] = Math.min(maxShare, sizes[side] * (1 + threshold.step));
    next[other] = Math.max(minShare, sizes[other] * (1 - threshold.step));
    return next;
  }
  const points = Math.min(threshold.step, maxShare - sizes[side], sizes[other] - minShare);
  next[side] = sizes[side] + Math.max(0, points);
  next[other] = sizes[other] - Math.max(0, points);
  return next;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;

/**
 * The specification's four tests, in its order, each on the sizes that the one before has left. Pure.
 * `use` is each side's memory as a share of the total.
 */
export function adjustPartitions(
  sizes: Sizes,
  use: Partial<Sizes>,
  settings: PolicySettings,
): { sizes: Sizes; why: Reason[] } {
  const { growAbove, shrinkBelow } = settings.threshold;
  const why: Reason[] = [];
  let now = sizes;
  for (const side of sides) {
    const used = use[side];
    if (used === undefined || !(used > growAbove * now[side] && now[side] < settings.maxShare))
      continue;
    const text = `it uses ${percent(used / now[side])} of its size`;
    why.push({ rule: 'grow', side, text });
    now = moved(now, side, settings);
  }
  for (const side of sides) {
    const used = use[side];
    if (used === undefined || !(used < shrinkBelow * now[side] && now[side] > settings.minShare))
      continue;
    const text = `it uses ${percent(used / now[side])} of its size`;
    why.push({ rule: 'shrink', side, text });
    now = moved(now, otherSide(side), settings);
  }
  return { sizes: now, why };
}

/** The specification's algorithm: sizes that follow use, kept by limits. */
export const thresholdPolicy: Policy<Sizes> = {
  name: 'threshold',
  summary: 'Sizes follow use: above 80 % a side grows, below 20 % it shrinks. Kept by limits.',
  decide({ settings, now }, state = sizesSeen(now, settings)) {
    const use: Partial<Sizes> = {};
    for (const side of sides) {
      const seen = now.sides[side];
      if (seen) use[side] = seen.currentBytes / now.totalBytes;
    }
    const { sizes, why } = adjustPartitions(state, use, settings);
    const highBytes = (side: Side) => sizes[side] * now.totalBytes;
    const goals = {
      user: { lowBytes: 0, highBytes: highBytes('user') },
      system: { lowBytes: 0, highBytes: highBytes('system') },
    };
    return { state: sizes, goals, why };
  },
};
