import { otherSide, type Side, sides, waiting } from '../observation.ts';
import type { Goals, Hint, Policy, PolicyInput, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';

interface State {
  /** The protections, as shares of the total. */
  low: Record<Side, number>;
  /** The last change of each: which way, and when. */
  moved: Partial<Record<Side, { up: boolean; atMs: number }>>;
  /** Looks in a row in which a side got no memory although it was protected beyond what it had. */
  unheard: number;
  /** The limit on the giving side. */
  limit?: { side: Side; bytes: number; untilMs: number };
}

/** What a side lacked between two looks. */
interface Need {
  /** Share of the time in which its tasks waited. */
  waited: number;
  /** Time that fetching its working set back costs, as a share of the time; may exceed 1. */
  lost: number;
  /** Working set that was fetched back. */
  lackedBytes: number;
}

const PAGE = 4096;

/** What a counter grew by; undefined when it is not told, never negative. */
function grown(was: number | undefined, is: number | undefined): number | undefined {
  return was === undefined || is === undefined ? undefined : Math.max(0, is - was);
}

/**
 * Evidence of need; undefined where there is none to be had. Waiting alone says that memory comes back, also when it
 * is memory that is hardly used: how much of it is working set, only the kernel's count of activations tells.
 */
function needOf({ now, before, settings }: PolicyInput, side: Side): Need | undefined {
  const [was, is] = [before?.sides[side], now.sides[side]];
  if (!before || !was || !is || was.group !== is.group) return undefined;
  const told = waiting(before, now, side)?.some;
  const pages = grown(was.activations, is.activations) ?? grown(was.refaults, is.refaults);
  if (told === undefined && pages === undefined) return undefined;
  const us = Math.max(1, (now.atMs - before.atMs) * 1000);
  const lost = pages === undefined ? (told ?? 0) : (pages * settings.protective.refaultUs) / us;
  return { waited: told ?? Math.min(1, lost), lost, lackedBytes: (pages ?? 0) * PAGE };
}

/** The side that gets memory, what it lacks, and why. */
interface Taker {
  side: Side;
  lackedBytes: number;
  /** The other side lacks memory too. */
  contended: boolean;
  why: Reason;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;

/** The side that has less than the least share, else the one that needs memory more than the other. */
function taker(input: PolicyInput): Taker | undefined {
  const { now, settings } = input;
  const { needLost, giverLost } = settings.protective;
  const needs = { user: needOf(input, 'user'), system: needOf(input, 'system') };
  const takers: Taker[] = [];
  for (const side of sides) {
    const [own, other] = [needs[side], needs[otherSide(side)]];
    if (!own || !other || own.lost < needLost) continue;
    const claims = (now.sides[side]?.currentBytes ?? 0) < settings.minShare * now.totalBytes;
    if (!claims && other.lost > own.lost * giverLost) continue;
    const text = `its tasks waited ${percent(own.waited)} of the time, the other side's ${percent(other.waited)}`;
    const why: Reason = { rule: claims ? 'claim' : 'need', side, text };
    takers.push({ side, lackedBytes: own.lackedBytes, contended: other.lost >= needLost, why });
  }
  return takers.find(({ why }) => why.rule === 'claim') ?? takers[0] ?? hinted(input);
}

/**
 * A launch that will not find the memory it needs. It finds what its own side has lying idle, too: no more than a step
 * is asked of the other side before there is need.
 */
function hinted({ hints, now, settings }: PolicyInput): Taker | undefined {
  const sum = (side: Side) =>
    hints.reduce((all, hint: Hint) => all + (hint.side === side ? hint.bytes : 0), 0);
  const [user, system] = [sum('user'), sum('system')];
  const bytes = Math.abs(user - system);
  if (user + system <= now.availableBytes) return undefined;
  if (bytes < settings.protective.stepLeast * now.totalBytes) return undefined;
  const side = user > system ? 'user' : 'system';
  const why: Reason = { rule: 'hint', side, text: 'an application is about to need more memory' };
  return { side, lackedBytes: 0, contended: false, why };
}

/** May this protection change that way now? Not before a change the other way has had its time. */
function mayChange(
  { now, settings }: PolicyInput,
  { moved }: State,
  side: Side,
  up: boolean,
  contended: boolean,
): boolean {
  const last = moved[side];
  if (!last) return true;
  const { coolDownMs, contendedMs, reversalMs } = settings.protective;
  const rest = contended ? contendedMs : last.up === up ? coolDownMs : reversalMs;
  return now.atMs - last.atMs >= rest;
}

/** The state with one protection changed, if it may and the change is worth a write. */
function changed(
  input: PolicyInput,
  state: State,
  side: Side,
  share: number,
  contended: boolean,
): State {
  const by = share - state.low[side];
  const { now, settings } = input;
  if (Math.abs(by) < settings.protective.deadBand) return state;
  if (!mayChange(input, state, side, by > 0, contended)) return state;
  return {
    ...state,
    low: { ...state.low, [side]: share },
    moved: { ...state.moved, [side]: { up: by > 0, atMs: now.atMs } },
    unheard: 0,
  };
}

/** Protection moves to the taker: beyond what it has, and out of the giver's where there is no other. */
function shifted(input: PolicyInput, state: State, { side, lackedBytes, contended }: Taker): State {
  const { now, settings } = input;
  const { stepFactor, stepLeast, giveStep, deadBand, leastLow } = settings.protective;
  const { protectedShare } = settings.guard;
  const giver = otherSide(side);
  const has = (now.sides[side]?.currentBytes ?? 0) / now.totalBytes;
  const lacked = (lackedBytes / now.totalBytes) * stepFactor;
  // The giver lends what it has beyond its protection, and a step of that: its claim brings it back.
  const giverHas = (now.sides[giver]?.currentBytes ?? 0) / now.totalBytes;
  const left = Math.min(state.low[giver], giverHas) - Math.max(lacked, giveStep);
  // What is lent below the least share must not be missed.
  const least = contended ? settings.minShare * protectedShare : leastLow;
  const lent = Math.min(state.low[giver], Math.max(least, left));
  const after = changed(input, state, giver, lent, contended);
  const most = Math.min(settings.maxShare, protectedShare - after.low[giver]);
  const wanted = Math.min(most, has + Math.max(lacked, contended ? deadBand : stepLeast));
  return changed(input, after, side, Math.max(state.low[side], wanted), contended);
}

/** Is the side protected beyond what it has? Then its waiting is that of bringing memory back, and will end. */
function covered({ now, settings }: PolicyInput, { low }: State, side: Side): boolean {
  const has = (now.sides[side]?.currentBytes ?? 0) / now.totalBytes;
  return has + settings.protective.deadBand <= low[side];
}

/** A limit on the giver, when the needy side is covered and still does not get memory: protection was not heard. */
function limited(input: PolicyInput, state: State, side: Side, lacked: number): State {
  const { now, before, settings } = input;
  const { limitAfter, stepFactor, stepLeast, holdMs } = settings.protective;
  const giver = otherSide(side);
  const has = now.sides[giver]?.currentBytes;
  const grown = (now.sides[side]?.currentBytes ?? 0) - (before?.sides[side]?.currentBytes ?? 0);
  const unheard = grown > 0 ? 0 : state.unheard + 1;
  if (unheard < limitAfter || state.limit || has === undefined) return { ...state, unheard };
  const step = Math.max(lacked * stepFactor, stepLeast * now.totalBytes);
  const least = state.low[giver] * now.totalBytes;
  if (has - least < settings.protective.deadBand * now.totalBytes) return { ...state, unheard };
  const limit = { side: giver, bytes: Math.max(least, has - step), untilMs: now.atMs + holdMs };
  return { ...state, unheard: 0, limit };
}

/** The limit as long as it serves: it ends in time, and at once when the limited side itself comes to wait. */
function lasting(input: PolicyInput, state: State): State {
  const { limit, ...rest } = state;
  if (!limit) return state;
  const hurts = (needOf(input, limit.side)?.waited ?? 0) >= input.settings.protective.needWaiting;
  return hurts || limit.untilMs <= input.now.atMs ? rest : state;
}

function goalsOf({ low, limit }: State, { now }: PolicyInput): Goals {
  const goal = (side: Side) => ({
    lowBytes: low[side] * now.totalBytes,
    ...(limit?.side === side && { highBytes: limit.bytes }),
  });
  return { user: goal('user'), system: goal('system') };
}

/** Protections in proportion to the shares. */
function evenly({ userShare, guard }: PolicySettings): State {
  const low = { user: userShare, system: 1 - userShare };
  for (const side of sides) low[side] *= guard.protectedShare;
  return { low, moved: {}, unheard: 0 };
}

const quiet: Reason = { rule: 'at-ease', text: 'no side needs memory that the other could give' };

/**
 * The default. Both sides are protected in proportion; protection takes nothing from anyone while there is enough.
 * When tasks of one side wait and those of the other do not, protection moves to the side that waits, so that the
 * kernel takes what it must from the other. A limit comes only where that was not heard, and ends by itself.
 */
export const protectivePolicy: Policy<State> = {
  name: 'protective',
  summary: 'Protections that move to the side whose tasks wait. The default.',
  decide(input, state = evenly(input.settings)) {
    const held = lasting(input, state);
    const needy = taker(input);
    if (!needy) {
      const next = { ...held, unheard: 0 };
      return { state: next, goals: goalsOf(next, input), why: [quiet] };
    }
    const { side, lackedBytes, why } = needy;
    const reasons = [why];
    let next = held;
    if (covered(input, held, side)) {
      next = limited(input, held, side, lackedBytes);
      reasons.push({ rule: 'covered', side, text: 'it is protected beyond what it has' });
    } else {
      next = shifted(input, held, needy);
      if (next === held) reasons.push({ rule: 'resting', side, text: 'no change is due yet' });
    }
    return { state: next, goals: goalsOf(next, input), why: reasons };
  },
};
