import { type Observation, otherSide, type Side, sides, waiting } from '../observation.ts';
import type { Goals, Policy, PolicyInput, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';

interface State {
  /** How protection is divided: the user's part, 0 to 1. */
  part: number;
  /** All protection, of the total. */
  all: number;
  /** The last move: in whose favour, and when. */
  moved?: { side: Side; atMs: number };
  /** What a side had when the launches were announced that it now waits for. */
  announced: Partial<Record<Side, number>>;
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
  /** Working set that was fetched back, in bytes per second. */
  fetched: number;
  /** What the side has. */
  has: number;
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
  const { refaultUs } = settings.protective;
  const us = Math.max(1, (now.atMs - before.atMs) * 1000);
  const lost = pages === undefined ? (told ?? 0) : (pages * refaultUs) / us;
  const fetched = ((lost * 1e6) / refaultUs) * PAGE;
  return { waited: told ?? Math.min(1, lost), lost, fetched, has: is.currentBytes };
}

/** The side that gets memory, and why. */
interface Taker {
  side: Side;
  own: Need;
  other: Need;
  /** The other side lacks memory too. */
  contended: boolean;
  why: Reason;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;

/**
 * The side that lacks more of its memory than the other, if one does: that is where a page is missed most. What the user's
 * side lacks of its own share is not weighed: a program that never has enough lacks more than any working set.
 */
function taker(input: PolicyInput, { part }: State): Taker | undefined {
  const { needLost, giverLost, userPart } = input.settings.protective;
  const needs = { user: needOf(input, 'user'), system: needOf(input, 'system') };
  for (const side of sides) {
    const [own, other] = [needs[side], needs[otherSide(side)]];
    if (!own || !other || own.lost < needLost) continue;
    const owed = side === 'user' && part < userPart;
    // Lost per byte that a side has, multiplied out.
    if (!owed && other.lost * own.has > own.lost * other.has * giverLost) continue;
    const text = `its tasks waited ${percent(own.waited)} of the time, the other side's ${percent(other.waited)}`;
    const why: Reason = { rule: 'need', side, text };
    return { side, own, other, contended: other.lost >= needLost, why };
  }
  return undefined;
}

/**
 * What announced launches will still bring to each side: what they need, less what has come since. Those that are not
 * worth a write are left out, and no side is believed more than its most.
 */
function coming({ hints, now, settings }: PolicyInput, announced: State['announced']) {
  const { deadBand, hintMost } = settings.protective;
  const next: State['announced'] = {};
  const bytes = { user: 0, system: 0 };
  for (const side of sides) {
    const seen = now.sides[side];
    const needed = hints.reduce(
      (all, hint) =>
        hint.side === side && hint.bytes >= deadBand * now.totalBytes ? all + hint.bytes : all,
      0,
    );
    if (!seen || needed === 0) continue;
    const had = announced[side] ?? seen.currentBytes;
    next[side] = had;
    bytes[side] = Math.max(
      0,
      had + Math.min(hintMost * now.totalBytes, needed) - seen.currentBytes,
    );
  }
  return { announced: next, bytes };
}

/**
 * What can be protected, of the total: less than both sides have and could have. The kernel and what is outside of both
 * have the rest; were all that a full machine can take away protected, it would be taken from everybody alike.
 */
function allOf(now: Observation, { guard, protective }: PolicySettings): number {
  const held = sides.reduce((sum, side) => sum + (now.sides[side]?.currentBytes ?? 0), 0);
  const reach = (held + now.availableBytes) / now.totalBytes;
  return Math.max(0, Math.min(guard.protectedShare, reach - protective.openShare));
}

/**
 * The part of all protection that a side keeps while it has so much: each a little, and the user's side, for which a person
 * waits, what it has up to its share, with room to grow by what is not worth a write.
 */
function keptPart(side: Side, bytes: number, { now, settings }: PolicyInput): number {
  const { leastPart, userPart, deadBand } = settings.protective;
  if (side === 'system') return leastPart;
  const room = bytes / now.totalBytes + deadBand;
  return Math.max(leastPart, Math.min(userPart, room / allOf(now, settings)));
}

/**
 * The taker's part of all protection: in proportion to what each side has and what it lacks. What comes back in a second
 * stands for what is missing. A launch counts only while its side needs memory and the other does not: alone it is no
 * evidence, because most launches find what their own side has lying idle.
 */
function partOf(
  input: PolicyInput,
  { side, own, other, contended }: Taker,
  comingBytes: number,
): number {
  const { now, settings } = input;
  const { missingS, contendedMost, hintPart } = settings.protective;
  const launched = contended ? 0 : comingBytes * hintPart;
  const most = (contended ? contendedMost : 1) * now.totalBytes;
  const missing = ({ fetched }: Need) => Math.min(fetched * missingS, most);
  const mine = own.has + missing(own) + launched;
  const theirs = other.has + missing(other);
  const inProportion = mine / Math.max(1, mine + theirs);
  const left = 1 - keptPart(otherSide(side), other.has, input);
  return Math.min(left, Math.max(keptPart(side, mine, input), inProportion));
}

/** Protection moves to the taker, or is less, when that is worth the writes and the last move has had its time. */
function shifted(input: PolicyInput, state: State, needy: Taker, comingBytes: number): State {
  const { now, settings } = input;
  const { deadBand, contendedBand, coolDownMs, reversalMs } = settings.protective;
  const { side, contended } = needy;
  const kept = side === 'user' ? state.part : 1 - state.part;
  const wanted = partOf(input, needy, comingBytes);
  const all = allOf(now, settings);
  const small = wanted - kept < (contended ? contendedBand : deadBand);
  if (small && state.all - all < deadBand) return state;
  const rest = state.moved?.side === side ? coolDownMs : reversalMs;
  if (state.moved && now.atMs - state.moved.atMs < rest) return state;
  const part = side === 'user' ? wanted : 1 - wanted;
  const moved = { side, atMs: now.atMs };
  return { ...state, part, all, moved, unheard: 0 };
}

/** The protections, as shares of the total. */
function lows({ part, all }: State): Record<Side, number> {
  return { user: part * all, system: (1 - part) * all };
}

/** Is the side protected beyond what it has? Then its waiting is that of bringing memory back, and will end. */
function covered({ now, settings }: PolicyInput, state: State, { side, own }: Taker): boolean {
  return own.has / now.totalBytes + settings.protective.deadBand <= lows(state)[side];
}

/** A limit on the giver, when the needy side is covered and still does not get memory: protection was not heard. */
function limited(input: PolicyInput, state: State, { side, own, other }: Taker): State {
  const { now, before, settings } = input;
  const { limitAfter, missingS, stepLeast, deadBand, holdMs, needWaiting } = settings.protective;
  const giver = otherSide(side);
  const grows = own.has > (before?.sides[side]?.currentBytes ?? 0);
  // As long as there is memory for the asking, nobody keeps it from the side.
  const free = now.availableBytes >= deadBand * now.totalBytes;
  const unheard = grows || free ? 0 : state.unheard + 1;
  if (unheard < limitAfter || state.limit || other.waited >= needWaiting)
    return { ...state, unheard };
  const step = Math.max(own.fetched * missingS, stepLeast * now.totalBytes);
  // The guard allows no limit below the least share.
  const least = Math.max(lows(state)[giver], settings.minShare) * now.totalBytes;
  if (other.has - least < deadBand * now.totalBytes) return { ...state, unheard };
  const bytes = Math.max(least, other.has - step);
  return { ...state, unheard: 0, limit: { side: giver, bytes, untilMs: now.atMs + holdMs } };
}

/** The limit as long as it serves: it ends in time, and at once when the limited side itself comes to wait. */
function lasting(input: PolicyInput, state: State): State {
  const { limit, ...rest } = state;
  if (!limit) return state;
  const hurts = (needOf(input, limit.side)?.waited ?? 0) >= input.settings.protective.needWaiting;
  return hurts || limit.untilMs <= input.now.atMs ? rest : state;
}

function goalsOf(state: State, { now }: PolicyInput): Goals {
  const low = lows(state);
  const goal = (side: Side) => ({
    lowBytes: low[side] * now.totalBytes,
    ...(state.limit?.side === side && { highBytes: state.limit.bytes }),
  });
  return { user: goal('user'), system: goal('system') };
}

const quiet: Reason = { rule: 'at-ease', text: 'no side needs memory that the other could give' };

function hintReason({ hints }: PolicyInput, side: Side): Reason {
  const types = new Set(hints.filter((hint) => hint.side === side).map(({ type }) => type));
  const text = `launches that were announced count as need: ${[...types].slice(0, 3).join(', ')}`;
  return { rule: 'hint', side, text };
}

const first = ({ settings }: PolicyInput): State => ({
  part: settings.userShare,
  all: settings.guard.protectedShare,
  announced: {},
  unheard: 0,
});

/**
 * The default. Both sides are protected in proportion; protection takes nothing from anyone while there is enough.
 * When working set is taken from one side, and less of the other, protection moves to it, so that the kernel takes what
 * it must from the other; of the user's side never what it has up to its share. A limit comes only where that was not heard,
 * and ends by itself.
 */
export const protectivePolicy: Policy<State> = {
  name: 'protective',
  summary: 'Protections that move to the side whose tasks wait. The default.',
  decide(input, state = first(input)) {
    const { announced, bytes } = coming(input, state.announced);
    const held = { ...lasting(input, state), announced };
    const needy = taker(input, held);
    if (!needy) {
      const next = { ...held, unheard: 0 };
      return { state: next, goals: goalsOf(next, input), why: [quiet] };
    }
    const { side, why } = needy;
    const reasons = [why];
    let next = held;
    if (covered(input, held, needy)) {
      next = limited(input, held, needy);
      reasons.push({ rule: 'covered', side, text: 'it is protected beyond what it has' });
    } else {
      next = shifted(input, held, needy, bytes[side]);
      if (next === held) reasons.push({ rule: 'resting', side, text: 'no change is due yet' });
      else if (bytes[side] > 0 && !needy.contended) reasons.push(hintReason(input, side));
    }
    return { state: next, goals: goalsOf(next, input), why: reasons };
  },
};
