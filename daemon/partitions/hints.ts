import { type Observation, sides } from './observation.ts';
import type { Hint } from './policy.ts';

/** What is taken of hints at most. Whoever may launch a program may announce one, and may be wrong or mean harm. */
export const hintLimits = {
  /** For each side; the newest are taken. */
  count: 32,
  /** A hint is for a launch, not for a day. */
  lifeMs: 5 * 60_000,
  type: /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/,
} as const;

function holds({ type, side, bytes, expiresAtMs }: Hint, now: Observation): boolean {
  const leftMs = expiresAtMs - now.atMs;
  return (
    sides.includes(side) &&
    bytes > 0 &&
    bytes <= now.totalBytes &&
    leftMs > 0 &&
    leftMs <= hintLimits.lifeMs &&
    hintLimits.type.test(type)
  );
}

/** The hints that hold now: none that has expired, none that cannot be true, not too many. Pure. */
export function liveHints(hints: readonly Hint[], now: Observation): Hint[] {
  if (hints.length === 0) return [];
  const live = hints.filter((hint) => holds(hint, now));
  return sides.flatMap((side) =>
    live.filter((hint) => hint.side === side).slice(-hintLimits.count),
  );
}
