import type { Flows } from './scenario.ts';

/**
 * Heats of a program's pages, each a fifth of them, after rd-hashd's published shape: they take 68, 27, 4, 0.3 and
 * 0.006 % of the accesses. With the hottest touched once a second the others follow. Then what nobody turns to.
 */
const TOUCHES_PER_S = [1, 0.4, 0.059, 0.0044, 0.000088, 0] as const;

const HEATS = 5;
const IDLE = 5;
const CLASSES = 6;

/** Touched within a minute: the working set. */
const WORKING = 3;

/** The part of the missing pages of a heat that a second asks for. */
const ASKED = TOUCHES_PER_S.map((rate) => 1 - Math.exp(-rate));

/** Pages of one side, in bytes by heat. */
export interface HeatSide {
  /** What its programs have asked for and not given back. */
  want: Float64Array;
  /** What of that is in memory. */
  have: Float64Array;
  /** Files that were read or written once. */
  cache: number;
}

export const emptySide = (): HeatSide => ({
  want: new Float64Array(CLASSES),
  have: new Float64Array(CLASSES),
  cache: 0,
});

export function sizeOf({ have, cache }: HeatSide): number {
  let sum = cache;
  for (let heat = 0; heat < CLASSES; heat++) sum += have[heat] as number;
  return sum;
}

/** What its programs have asked for and is not in memory. */
export function missingOf({ want, have }: HeatSide): number {
  let sum = 0;
  for (let heat = 0; heat < CLASSES; heat++) sum += (want[heat] as number) - (have[heat] as number);
  return sum;
}

const put = (pages: Float64Array, heat: number, by: number): void => {
  pages[heat] = Math.max(0, (pages[heat] as number) + by);
};

/** Takes `bytes` of what is wanted of a heat away, and of what is in memory the same part. Answers that. */
function leave({ want, have }: HeatSide, heat: number, bytes: number): number {
  const wanted = want[heat] as number;
  if (wanted <= 0) return 0;
  const held = (have[heat] as number) * Math.min(1, bytes / wanted);
  put(want, heat, -bytes);
  put(have, heat, -held);
  return held;
}

/** What this second's programs begin, leave and turn to. New memory is there at once. */
export function move(side: HeatSide, flows: Flows, second: number): void {
  const at = (flow: Float64Array) => flow[second] as number;
  const [start, endActive, endIdle] = [at(flows.start), at(flows.endActive), at(flows.endIdle)];
  const [toIdle, toActive] = [at(flows.toIdle), at(flows.toActive)];
  if (endIdle > 0) leave(side, IDLE, endIdle);
  if (toActive > 0) {
    const held = leave(side, IDLE, toActive);
    for (let heat = 0; heat < HEATS; heat++) {
      put(side.want, heat, toActive / HEATS);
      put(side.have, heat, held / HEATS);
    }
  }
  for (let heat = 0; heat < HEATS; heat++) {
    if (start > 0) {
      put(side.want, heat, start / HEATS);
      put(side.have, heat, start / HEATS);
    }
    if (toIdle > 0) {
      put(side.have, IDLE, leave(side, heat, toIdle / HEATS));
      put(side.want, IDLE, toIdle / HEATS);
    }
    if (endActive > 0) leave(side, heat, endActive / HEATS);
  }
  side.cache += at(flows.stream);
}

/** Brings back what is asked for and missing, as far as the disk can. Answers the bytes: all, and of the working set. */
export function pageIn(
  { want, have }: HeatSide,
  bandwidth: number,
): { bytes: number; warm: number } {
  let asked = 0;
  for (let heat = 0; heat < HEATS; heat++)
    asked += ((want[heat] as number) - (have[heat] as number)) * (ASKED[heat] as number);
  if (asked <= 0) return { bytes: 0, warm: 0 };
  const part = Math.min(1, bandwidth / asked);
  let warm = 0;
  for (let heat = 0; heat < HEATS; heat++) {
    const missing = (want[heat] as number) - (have[heat] as number);
    const fetched = missing * (ASKED[heat] as number) * part;
    put(have, heat, fetched);
    if (heat < WORKING) warm += fetched;
  }
  return { bytes: asked * part, warm };
}

/** Takes this much away, the coldest first. Answers how much of it was working set. */
export function takeColdest(side: HeatSide, bytes: number): number {
  const fromCache = Math.min(side.cache, bytes);
  side.cache -= fromCache;
  let left = bytes - fromCache;
  let warm = 0;
  for (let heat = CLASSES - 1; heat >= 0 && left > 0; heat--) {
    const taken = Math.min(side.have[heat] as number, left);
    put(side.have, heat, -taken);
    left -= taken;
    if (heat < WORKING) warm += taken;
  }
  return warm;
}

/** What stays out of the working set: it could be taken without being missed soon. */
export function coldOf({ have, cache }: HeatSide): number {
  let sum = cache;
  for (let heat = WORKING; heat < CLASSES; heat++) sum += have[heat] as number;
  return sum;
}

export const cacheOf = ({ cache }: HeatSide): number => cache;

/** Bytes wanted of each heat, the hottest first. */
export const wantsOf = ({ want }: HeatSide): number[] => [...want];
