import { type Observation, otherSide, type Side } from './observation.ts';
import type { Goals, Policy, Reason } from './policy.ts';
import type { PolicySettings } from './policy-settings.ts';
import { type SpaceSeen, spaceObservation, totalOf, type VolumeSeen } from './space-look.ts';

const MiB = 2 ** 20;
const PAGE = 4096;

/** Space that changes sides. */
export interface SpaceMove {
  from: Side;
  to: Side;
  /** Whole MiB. */
  bytes: number;
}

/** What is kept from one look to the next. Plain data; losing it costs a look and a rest. */
export interface SpaceState {
  before?: Observation;
  moved?: { to: Side; atMs: number };
}

export interface SpaceStep {
  state: SpaceState;
  /** The sizes that follow: as they are, or after the move. */
  sizes: Record<Side, number>;
  why: Reason[];
  move?: SpaceMove;
}

export interface SpaceInput {
  policy: Policy;
  settings: PolicySettings;
  seen: SpaceSeen;
  /** CLOCK_BOOTTIME, in milliseconds. */
  atMs: number;
  state: SpaceState;
}

/**
 * What policies go by when it is about space. Shares begin where the volumes stand. All of it is divided. Of a volume that is
 * too full only that is known: it lacks one step. Nobody takes its files away meanwhile, so no limit has to be tried on the giver.
 */
function spaceSettings(settings: PolicySettings, seen: SpaceSeen): PolicySettings {
  const { threshold, protective, guard } = settings;
  const total = totalOf(seen);
  const missingS = (threshold.step * total * protective.refaultUs) / (1e6 * PAGE);
  return {
    ...settings,
    userShare: seen.user.sizeBytes / total,
    protective: {
      ...protective,
      ...{ missingS, deadBand: threshold.step, limitAfter: Infinity, userPart: 0, openShare: 0 },
    },
    guard: { ...guard, protectedShare: 1 },
  };
}

/** How a policy's word divides space: by its limits where both sides have one, else by its protections. The user's part. */
function userPart({ user, system }: Goals, kept: number): number {
  const [one, other] =
    user.highBytes !== undefined && system.highBytes !== undefined
      ? [user.highBytes, system.highBytes]
      : [user.lowBytes, system.lowBytes];
  return one + other > 0 ? one / (one + other) : kept;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;

/** What rules of policies mean where it is about space and not about memory. */
const words: Record<string, string> = {
  need: 'its volume is too full, and the other has more room',
  covered: 'a step is still free in it',
  'at-ease': 'no volume is too full, or both are',
};

/** The reasons of a policy, and how full both volumes are. */
function reasons(why: readonly Reason[], seen: SpaceSeen): Reason[] {
  const full = ({ usedBytes, sizeBytes }: VolumeSeen) => percent(usedBytes / sizeBytes);
  const text = `user is ${full(seen.user)} full, system ${full(seen.system)}`;
  const told = why.map((one) => ({ ...one, text: words[one.rule] ?? one.text }));
  return [...told, { rule: 'seen', text }];
}

/** What the sides can take part in: bytes, and the reason where that is too little to be worth a change. */
function bounded(
  { from, to, bytes }: SpaceMove,
  seen: SpaceSeen,
  settings: PolicySettings,
): { bytes: number; bound: Reason } {
  const { minShare, maxShare, threshold, protective } = settings;
  const total = totalOf(seen);
  const [giver, taker] = [seen[from], seen[to]];
  // What it uses would be too much for what is left: it would ask for the space back at once.
  const kept = Math.max(giver.leastBytes, giver.usedBytes / threshold.growAbove);
  const bounds: { bytes: number; why: Reason }[] = [
    {
      bytes: giver.sizeBytes - kept,
      why: { rule: 'no-slack', side: from, text: 'it needs what it has' },
    },
    {
      bytes: giver.sizeBytes - minShare * total,
      why: { rule: 'least', side: from, text: `no side has less than ${percent(minShare)}` },
    },
    {
      bytes: maxShare * total - taker.sizeBytes,
      why: { rule: 'most', side: to, text: `no side has more than ${percent(maxShare)}` },
    },
    {
      bytes: taker.mostBytes - taker.sizeBytes,
      why: { rule: 'limit', side: to, text: 'it was not made to grow further' },
    },
    {
      bytes: Math.min(bytes, threshold.step * total),
      why: { rule: 'dead-band', side: to, text: 'so little is not worth a change' },
    },
  ];
  const tightest = bounds.reduce((one, other) => (other.bytes < one.bytes ? other : one));
  const whole = Math.floor(tightest.bytes / MiB) * MiB;
  return { bytes: whole < protective.deadBand * total ? 0 : whole, bound: tightest.why };
}

/** Why nothing may move now, whatever the policy says. */
function rests(to: Side, atMs: number, state: SpaceState, settings: PolicySettings) {
  const { before, moved } = state;
  const gap = atMs - (before?.atMs ?? Number.NEGATIVE_INFINITY);
  if (gap > settings.guard.gapMs || gap < 0)
    return { rule: 'first-look', text: 'one look is no evidence' };
  const { coolDownMs, reversalMs } = settings.protective;
  const rest = moved?.to === to ? coolDownMs : reversalMs;
  if (moved !== undefined && atMs - moved.atMs < rest)
    return { rule: 'resting', side: to, text: 'the last move was just now' };
  return undefined;
}

/**
 * One look at both volumes, the policy's word, and the move that follows from it. The policy begins anew each time with the
 * sizes as they are: those are in the volumes themselves, so that a restart or a change that failed leaves nothing to be
 * set right. Whatever the policy: what is set aside stays the same in sum, at most one step moves at a time, a giver keeps what
 * it uses with room, and bounds and limits hold. Pure.
 */
export function spaceStep({ policy, settings, seen, atMs, state }: SpaceInput): SpaceStep {
  const law = spaceSettings(settings, seen);
  const { before } = state;
  const now = spaceObservation(seen, atMs, before, settings);
  const gapless = before !== undefined && atMs - before.atMs <= settings.guard.gapMs;
  const decided = policy.decide(
    { settings: law, now, ...(gapless && { before }), hints: [] },
    undefined,
  );
  const why = reasons(decided.why, seen);
  const sizes = { user: seen.user.sizeBytes, system: seen.system.sizeBytes };
  const stays = (more: Reason[]): SpaceStep => ({
    state: { ...state, before: now },
    sizes,
    why: [...why, ...more],
  });
  const gain = Math.round(userPart(decided.goals, law.userShare) * totalOf(seen)) - sizes.user;
  if (Math.abs(gain) < MiB) return stays([]);
  const to: Side = gain > 0 ? 'user' : 'system';
  const from = otherSide(to);
  const { bytes, bound } = bounded({ from, to, bytes: Math.abs(gain) }, seen, settings);
  if (bytes === 0) return stays([bound]);
  const resting = rests(to, atMs, state, settings);
  if (resting !== undefined) return stays([resting]);
  return {
    state: { before: now, moved: { to, atMs } },
    sizes: { ...sizes, [to]: sizes[to] + bytes, [from]: sizes[from] - bytes },
    why,
    move: { from, to, bytes },
  };
}
