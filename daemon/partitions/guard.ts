import {
  type Observation,
  otherSide,
  type Side,
  type SideObservation,
  sides,
  unreclaimableBytes,
  waiting,
} from './observation.ts';
import type { Goal, Goals, Reason } from './policy.ts';
import type { PolicySettings } from './policy-settings.ts';

/** What the guard remembers of one side. */
interface SideWatch {
  group: string;
  highEvents: number;
  /** Since when the side has been held back without getting below its limit. */
  stuckSinceMs?: number;
  /** Since when no task of it came forward. */
  stalledSinceMs?: number;
  /** No limit before this. */
  restUntilMs?: number;
}

export interface GuardState {
  sides: Partial<Record<Side, SideWatch>>;
}

export const guardStart: GuardState = { sides: {} };

/** A hard limit takes nothing away: it only stops a side from growing. It moves in steps, not with every page. */
function hardFloor(usedBytes: number, { guard: { hardRoomBytes, hardStepBytes } }: PolicySettings) {
  return Math.ceil((usedBytes + hardRoomBytes) / hardStepBytes) * hardStepBytes;
}

/** The lowest limit that a side can live with. Bytes. */
export function floorBytes(
  side: SideObservation,
  now: Observation,
  settings: PolicySettings,
): number {
  const { floorBytes: least, floorRoomBytes, floorRoomShare } = settings.guard;
  const held = unreclaimableBytes(side, now.swapFreeBytes);
  return Math.max(
    least,
    held * (1 + floorRoomShare) + floorRoomBytes,
    settings.minShare * now.totalBytes,
    side.hard === true ? hardFloor(side.currentBytes, settings) : 0,
  );
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;

/** Looks at how the limited side fares. A reason to take its limit off, or nothing. */
function watch(
  side: Side,
  now: Observation,
  before: Observation | undefined,
  was: SideWatch | undefined,
  settings: PolicySettings,
): { next: SideWatch; off?: Reason } {
  const seen = now.sides[side] as SideObservation;
  const { stallMs, restMs, stallWaiting } = settings.guard;
  const same = was?.group === seen.group ? was : undefined;
  const next: SideWatch = { group: seen.group, highEvents: seen.highEvents ?? 0 };
  if (same?.restUntilMs !== undefined && same.restUntilMs > now.atMs)
    next.restUntilMs = same.restUntilMs;
  const limited = typeof seen.high === 'number';
  if (!limited || same === undefined) return { next };
  if (seen.currentBytes > (seen.high as number) && next.highEvents > same.highEvents)
    next.stuckSinceMs = same.stuckSinceMs ?? now.atMs;
  if ((waiting(before, now, side)?.full ?? 0) >= stallWaiting)
    next.stalledSinceMs = same.stalledSinceMs ?? now.atMs;
  const since = Math.min(next.stuckSinceMs ?? now.atMs, next.stalledSinceMs ?? now.atMs);
  if (now.atMs - since < stallMs) return { next };
  next.restUntilMs = now.atMs + restMs;
  const text = `held back for ${seconds(now.atMs - since)} without getting on: no limit for ${seconds(restMs)}`;
  return { next, off: { rule: 'stalled', side, text } };
}

/** Why no limit may stand on this side, if so. */
function ban(
  side: Side,
  now: Observation,
  watched: SideWatch,
  settings: PolicySettings,
): Reason | undefined {
  if (watched.restUntilMs !== undefined && watched.restUntilMs > now.atMs)
    return { rule: 'resting', side, text: 'no limit: the last one stalled it' };
  if (now.swapFreeBytes < settings.guard.swapFreeBytes)
    return { rule: 'no-swap', side, text: 'no limit: without free swap it would only stall' };
  return undefined;
}

/** Protections that leave the machine some memory to move, and never more than a side's greatest share. */
function protections(goals: Goals, now: Observation, settings: PolicySettings): Goals {
  const most = settings.maxShare * now.totalBytes;
  const wanted = (side: Side) => Math.min(most, Math.max(0, goals[side].lowBytes || 0));
  const sum = wanted('user') + wanted('system');
  const scale = Math.min(1, (settings.guard.protectedShare * now.totalBytes) / Math.max(1, sum));
  const one = (side: Side): Goal => ({ ...goals[side], lowBytes: wanted(side) * scale });
  return { user: one('user'), system: one('system') };
}

/**
 * Makes what a policy wants harmless, whatever the policy: bounds, a floor under every limit, no limits without swap,
 * on a side that stalls, or on a side without a group. Pure.
 */
export function guard(
  goals: Goals,
  now: Observation,
  before: Observation | undefined,
  state: GuardState,
  settings: PolicySettings,
): { state: GuardState; goals: Goals; why: Reason[] } {
  const why: Reason[] = [];
  const next: GuardState = { sides: {} };
  const safe = protections(goals, now, settings);
  for (const side of sides) {
    const seen = now.sides[side];
    if (seen === undefined) {
      safe[side] = { lowBytes: 0 };
      continue;
    }
    const watched = watch(side, now, before, state.sides[side], settings);
    next.sides[side] = watched.next;
    if (watched.off) why.push(watched.off);
    const { highBytes } = safe[side];
    if (highBytes === undefined) continue;
    const banned = ban(side, now, watched.next, settings);
    const floor = floorBytes(seen, now, settings);
    const high = Math.max(highBytes, floor);
    const alone = now.sides[otherSide(side)] === undefined;
    if (banned && !watched.off) why.push(banned);
    if (banned || alone || high >= now.totalBytes) safe[side] = { lowBytes: safe[side].lowBytes };
    else if (high > highBytes || Number.isNaN(highBytes)) {
      safe[side] = { ...safe[side], highBytes: floor };
      why.push({ rule: 'floor', side, text: 'the limit is lifted to what the side must have' });
    }
  }
  return { state: next, goals: safe, why };
}
