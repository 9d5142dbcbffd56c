import { type Observation, otherSide, type Side, sides, waiting } from '../observation.ts';
import type { Goals, Hint, Policy, PolicyInput, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';

interface State {
  /** The user's part of the protections, 0 to 1. */
  part: number;
  /** The last move. */
  toward?: Side;
  movedAtMs?: number;
  /** Looks in a row in which a side needed memory although it was protected beyond what it had. */
  unheard: number;
  /** The limit on the giving side. */
  limit?: { side: Side; bytes: number; untilMs: number };
}

/** What a side lacked between two looks. */
interface Need {
  /** Share of the time in which its tasks waited. */
  waited: number;
  /** What came back after it had been taken away. */
  lackedBytes: number;
}

const PAGE = 4096;

/** Evidence of need; undefined where there is none to be had. */
function needOf({ now, before, settings }: PolicyInput, side: Side): Need | undefined {
  const [was, is] = [before?.sides[side], now.sides[side]];
  if (!before || !was || !is || was.group !== is.group) return undefined;
  const refaults = Math.max(0, (is.refaults ?? 0) - (was.refaults ?? 0));
  const told = waiting(before, now, side)?.some;
  const counted = is.refaults !== undefined && was.refaults !== undefined;
  if (told === undefined && !counted) return undefined;
  const us = Math.max(1, (now.atMs - before.atMs) * 1000);
  const guessed = Math.min(1, (refaults * settings.protective.refaultUs) / us);
  return { waited: told ?? guessed, lackedBytes: refaults * PAGE };
}

/** The side that needs memory while the other can give, with what it lacks. */
function taker(input: PolicyInput): { side: Side; lackedBytes: number; why: Reason } | undefined {
  const { needWaiting, giverWaiting } = input.settings.protective;
  const needs = { user: needOf(input, 'user'), system: needOf(input, 'system') };
  for (const side of sides) {
    const [own, other] = [needs[side], needs[otherSide(side)]];
    if (!own || !other || own.waited < needWaiting) continue;
    if (other.waited >= Math.max(needWaiting * giverWaiting, own.waited * giverWaiting)) continue;
    const text = `its tasks waited ${Math.round(own.waited * 100)} % of the time, the other side's ${Math.round(other.waited * 100)} %`;
    return { side, lackedBytes: own.lackedBytes, why: { rule: 'need', side, text } };
  }
  return hinted(input);
}

/** A launch that will not find the memory it needs. */
function hinted({ hints, now }: PolicyInput): ReturnType<typeof taker> {
  const sum = (side: Side) =>
    hints.reduce((all, hint: Hint) => all + (hint.side === side ? hint.bytes : 0), 0);
  const [user, system] = [sum('user'), sum('system')];
  if (user + system <= now.availableBytes || user === system) return undefined;
  const side = user > system ? 'user' : 'system';
  const why: Reason = { rule: 'hint', side, text: 'an application is about to need more memory' };
  return { side, lackedBytes: Math.abs(user - system), why };
}

const partOf = (side: Side, part: number) => (side === 'user' ? part : 1 - part);

/** The protection that the guard will let a part be, in bytes. */
const lowBytes = (side: Side, part: number, now: Observation, settings: PolicySettings) =>
  partOf(side, part) * settings.guard.protectedShare * now.totalBytes;

/** The part at which the side is protected well beyond what it has; within the bounds. */
function partFor(side: Side, lacked: number, input: PolicyInput, part: number): number {
  const { now, settings } = input;
  const { stepFactor, stepLeast } = settings.protective;
  const room = Math.max(lacked * stepFactor, stepLeast * now.totalBytes);
  const wanted = (now.sides[side]?.currentBytes ?? 0) + room;
  const share = wanted / (settings.guard.protectedShare * now.totalBytes);
  const bounded = Math.min(settings.maxShare, Math.max(partOf(side, part), share));
  return side === 'user' ? bounded : 1 - bounded;
}

/** May the protections move toward this side now? */
function mayMove({ now, settings }: PolicyInput, state: State, side: Side): boolean {
  if (state.movedAtMs === undefined) return true;
  const { coolDownMs, reversalMs } = settings.protective;
  const rest = state.toward === side ? coolDownMs : reversalMs;
  return now.atMs - state.movedAtMs >= rest;
}

/** A limit on the giver, when protection alone was not heard. */
function limited(input: PolicyInput, state: State, side: Side, lacked: number): State {
  const { now, settings } = input;
  const { limitAfter, stepFactor, stepLeast, holdMs } = settings.protective;
  const giver = otherSide(side);
  const has = now.sides[giver]?.currentBytes;
  const unheard = state.unheard + 1;
  if (unheard < limitAfter || state.limit || has === undefined) return { ...state, unheard };
  const step = Math.max(lacked * stepFactor, stepLeast * now.totalBytes);
  const least = lowBytes(giver, state.part, now, settings);
  if (has - least < settings.protective.deadBand * now.totalBytes) return { ...state, unheard };
  const limit = { side: giver, bytes: Math.max(least, has - step), untilMs: now.atMs + holdMs };
  return { ...state, unheard: 0, limit };
}

function goalsOf({ part, limit }: State, { now, settings }: PolicyInput): Goals {
  const goal = (side: Side) => ({
    lowBytes: lowBytes(side, part, now, settings),
    ...(limit?.side === side && { highBytes: limit.bytes }),
  });
  return { user: goal('user'), system: goal('system') };
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
  decide(input, state = { part: input.settings.userShare, unheard: 0 }) {
    const { now, settings } = input;
    let next: State = { ...state };
    if (next.limit && next.limit.untilMs <= now.atMs) delete next.limit;
    const needy = taker(input);
    if (!needy) {
      next.unheard = 0;
      return { state: next, goals: goalsOf(next, input), why: [quiet] };
    }
    const { side, lackedBytes, why } = needy;
    const part = partFor(side, lackedBytes, input, next.part);
    const worth = Math.abs(part - next.part) >= settings.protective.deadBand;
    const reasons = [why];
    if (!mayMove(input, next, side)) reasons.push({ rule: 'resting', side, text: 'moved lately' });
    else if (worth) next = { ...next, part, toward: side, movedAtMs: now.atMs, unheard: 0 };
    else next = limited(input, next, side, lackedBytes);
    return { state: next, goals: goalsOf(next, input), why: reasons };
  },
};
