import { type GuardState, guard, guardStart } from './guard.ts';
import { liveHints } from './hints.ts';
import type { KnobWrite } from './knobs.ts';
import type { Observation } from './observation.ts';
import { planWrites } from './plan.ts';
import { type Goals, type Hint, type Policy, type Reason, untouched } from './policy.ts';
import type { PolicySettings } from './policy-settings.ts';

/** What the loop keeps from one look to the next. Plain data. */
export interface StepState {
  /** Of the policy that made it; another policy starts without. */
  policy: string;
  policyState?: unknown;
  guard: GuardState;
  before?: Observation;
  /** No decisions before this. */
  holdUntilMs?: number;
  goals: Goals;
}

export interface Step {
  state: StepState;
  goals: Goals;
  writes: KnobWrite[];
  why: Reason[];
}

export interface StepInput {
  policy: Policy;
  settings: PolicySettings;
  now: Observation;
  hints: readonly Hint[];
  state: StepState | undefined;
  /** For comparisons with a law as it was published. */
  unguarded?: boolean;
}

const unlimited = (goals: Goals): Goals => ({
  user: { lowBytes: goals.user.lowBytes },
  system: { lowBytes: goals.system.lowBytes },
});

/** Why the last look says nothing about this one, if so. */
function brokenOff(before: Observation, now: Observation, gapMs: number): Reason | undefined {
  const gap = now.atMs - before.atMs;
  if (gap > gapMs || gap < 0)
    return { rule: 'gap', text: `${Math.round(gap / 1000)} s between two looks: limits are off` };
  // A quarter of a percent comes and goes with the kernel's own tables.
  if (Math.abs(now.totalBytes - before.totalBytes) > before.totalBytes / 400)
    return { rule: 'memory-changed', text: "the machine's memory has changed: limits are off" };
  return undefined;
}

/**
 * One turn: what was seen, the policy's word, the guard's, and the writes that follow. Pure; the machine's loop and
 * the simulator run this same function.
 */
export function step({ policy, settings, now, hints, state, unguarded }: StepInput): Step {
  const known = state?.policy === policy.name ? state : undefined;
  const kept = known?.goals ?? state?.goals ?? untouched;
  let before = known?.before;
  const broken = before && brokenOff(before, now, settings.guard.gapMs);
  let holdUntilMs = state?.holdUntilMs;
  if (broken) {
    before = undefined;
    holdUntilMs = now.atMs + settings.guard.resumeHoldMs;
  }
  const next: StepState = {
    policy: policy.name,
    policyState: known?.policyState,
    guard: known?.guard ?? guardStart,
    before: now,
    goals: kept,
  };
  if (holdUntilMs !== undefined && holdUntilMs > now.atMs) {
    const goals = unlimited(kept);
    const why: Reason[] = [
      broken ?? { rule: 'hold', text: 'waiting for the machine to settle: no limits, no moves' },
    ];
    return {
      state: { ...next, holdUntilMs, goals },
      goals,
      writes: planWrites(goals, now),
      why,
    };
  }
  const input = { settings, now, hints: liveHints(hints, now), ...(before && { before }) };
  const decided = policy.decide(input, known?.policyState);
  next.policyState = decided.state;
  if (unguarded) {
    next.goals = decided.goals;
    const writes = planWrites(decided.goals, now);
    return { state: next, goals: decided.goals, writes, why: decided.why };
  }
  const guarded = guard(decided.goals, now, before, next.guard, settings);
  next.guard = guarded.state;
  next.goals = guarded.goals;
  const why = guarded.why.length === 0 ? decided.why : [...decided.why, ...guarded.why];
  return { state: next, goals: guarded.goals, writes: planWrites(guarded.goals, now), why };
}
