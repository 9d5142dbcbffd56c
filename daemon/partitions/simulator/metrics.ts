import { type Side, sides } from '../observation.ts';
import type { Second } from './machine.ts';

const GiB = 2 ** 30;

/** Less than this is noise: no shortage. */
const NOTICED = 16 * 2 ** 20;

/** Two moves in opposite directions within this are a reversal. */
const REVERSAL_S = 60;

/** How a run went. */
export interface Metrics {
  /** Of an hour: seconds with a shortage, and its size (GiB times seconds). */
  shortSecondsPerHour: number;
  shortGiBsPerHour: number;
  /** The part of the shortage that free memory or the other side could have covered, 0 to 1. */
  avoidable: number;
  avoidableGiBsPerHour: number;
  reclaimedGiBPerHour: number;
  refaultedGiBPerHour: number;
  writesPerHour: number;
  reversalsPerHour: number;
  /** Times from the first second of an avoidable shortage to its end, in seconds. */
  reliefs: number[];
  /** Share of the time in which tasks of a side waited. */
  waited: Record<Side, number>;
}

export interface Gauge {
  second(second: number, done: Second): void;
  /** A knob was written: `by` is how much of the total the move gave the user's side. */
  wrote(second: number, knob: string, by: number): void;
  metrics(seconds: number): Metrics;
}

/** Sums of a run. */
export function gauge(): Gauge {
  let [short, shortSeconds, avoidable, reclaimed, refaulted, writes, reversals] = [
    0, 0, 0, 0, 0, 0, 0,
  ];
  const waited = { user: 0, system: 0 };
  const since: Partial<Record<Side, number>> = {};
  const reliefs: number[] = [];
  const last = new Map<string, { second: number; by: number }>();
  return {
    second(second, done) {
      let [lacked, could] = [0, 0];
      for (const side of sides) {
        const one = done[side];
        lacked += one.shortBytes;
        could += one.avoidableBytes;
        reclaimed += one.reclaimedBytes;
        refaulted += one.refaultedBytes;
        waited[side] += one.waited;
        const began = since[side];
        if (one.avoidableBytes > NOTICED) since[side] = began ?? second;
        else if (began !== undefined) {
          reliefs.push(second - began);
          delete since[side];
        }
      }
      short += lacked;
      avoidable += could;
      if (lacked > NOTICED) shortSeconds++;
    },
    wrote(second, knob, by) {
      writes++;
      const before = last.get(knob);
      if (before && second - before.second <= REVERSAL_S && before.by * by < 0) reversals++;
      last.set(knob, { second, by });
    },
    metrics(seconds) {
      for (const side of sides) if (since[side] !== undefined) reliefs.push(seconds - since[side]);
      const hours = seconds / 3600;
      return {
        shortSecondsPerHour: shortSeconds / hours,
        shortGiBsPerHour: short / GiB / hours,
        avoidable: short > 0 ? avoidable / short : 0,
        avoidableGiBsPerHour: avoidable / GiB / hours,
        reclaimedGiBPerHour: reclaimed / GiB / hours,
        refaultedGiBPerHour: refaulted / GiB / hours,
        writesPerHour: writes / hours,
        reversalsPerHour: reversals / hours,
        reliefs,
        waited: { user: waited.user / seconds, system: waited.system / seconds },
      };
    },
  };
}
