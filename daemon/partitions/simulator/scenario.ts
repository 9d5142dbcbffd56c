import { type Side, sides } from '../observation.ts';

/** What one second brings a side, in bytes. Its programs get memory, leave it, or turn to it again. */
export interface Flows {
  /** New memory, in use. */
  start: Float64Array;
  /** Memory given back: that was in use, that lay idle. */
  endActive: Float64Array;
  endIdle: Float64Array;
  /** Memory that nobody turns to any more, and that somebody turns to again. */
  toIdle: Float64Array;
  toActive: Float64Array;
  /** Files read or written once. */
  stream: Float64Array;
}

/** A launch that was announced. */
export interface Launch {
  second: number;
  side: Side;
  bytes: number;
}

/** What two sides want, second by second. */
export interface Scenario {
  name: string;
  totalBytes: number;
  seconds: number;
  sides: Record<Side, Flows>;
  launches: Launch[];
}

/** One program of a scenario. Seconds; bytes. */
export interface Load {
  side: Side;
  start: number;
  /** Time in which it gets all of its memory. */
  ramp: number;
  end: number;
  bytes: number;
  /** Seconds at which it is turned away from, to, away from, ... Rising. */
  turns: readonly number[];
  /** Files that it reads or writes once, bytes each second. */
  stream?: number;
}

const emptyFlows = (seconds: number): Flows => ({
  start: new Float64Array(seconds),
  endActive: new Float64Array(seconds),
  endIdle: new Float64Array(seconds),
  toIdle: new Float64Array(seconds),
  toActive: new Float64Array(seconds),
  stream: new Float64Array(seconds),
});

const add = (flow: Float64Array, second: number, bytes: number): void => {
  if (second >= 0 && second < flow.length) flow[second] = (flow[second] as number) + bytes;
};

function addLoad(flows: Flows, load: Load): void {
  const { start, ramp, end, bytes, turns, stream } = load;
  const growing = Math.max(1, Math.min(ramp, end - start));
  for (let second = start; second < start + growing; second++)
    add(flows.start, second, bytes / growing);
  let active = true;
  for (const second of turns) {
    if (second <= start + growing || second >= end) continue;
    add(active ? flows.toIdle : flows.toActive, second, bytes);
    active = !active;
  }
  add(active ? flows.endActive : flows.endIdle, end, bytes);
  if (stream) for (let second = start; second < end; second++) add(flows.stream, second, stream);
}

/** The scenario of these programs. */
export function scenarioOf(
  name: string,
  totalBytes: number,
  seconds: number,
  loads: readonly Load[],
): Scenario {
  const flows = { user: emptyFlows(seconds), system: emptyFlows(seconds) };
  for (const load of loads) addLoad(flows[load.side], load);
  const launches = loads
    .filter(({ start }) => start > 0)
    .map(({ start, side, bytes }) => ({ second: start, side, bytes }));
  return { name, totalBytes, seconds, sides: flows, launches };
}

/** The scenario in which each side wants what a series says, all of it in use. */
export function scenarioOfSeries(
  name: string,
  totalBytes: number,
  wants: Record<Side, ArrayLike<number>>,
): Scenario {
  const seconds = wants.user.length;
  const flows = { user: emptyFlows(seconds), system: emptyFlows(seconds) };
  for (const side of sides) {
    let last = 0;
    for (let second = 0; second < seconds; second++) {
      const want = wants[side][second] as number;
      const flow = want >= last ? flows[side].start : flows[side].endActive;
      add(flow, second, Math.abs(want - last));
      last = want;
    }
  }
  return { name, totalBytes, seconds, sides: flows, launches: [] };
}
