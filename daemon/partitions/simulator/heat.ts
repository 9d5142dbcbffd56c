import type { Observation, Side, SideObservation } from '../observation.ts';
import {
  amountOf,
  FREE,
  knobAccess,
  type Second,
  type SideKnobs,
  type SideSecond,
  type SimulatedMachine,
} from './machine.ts';
import {
  cacheOf,
  coldOf,
  emptySide,
  type HeatSide,
  missingOf,
  move,
  pageIn,
  sizeOf,
  takeColdest,
  wantsOf,
} from './pages.ts';
import type { Scenario } from './scenario.ts';

/** How fast this machine is. */
export interface HeatCosts {
  /** One page that comes back, in microseconds. */
  refaultUs: number;
  /** What can be fetched, and what can be taken away, each second. Bytes. */
  fetchBytes: number;
  reclaimBytes: number;
  /** Tasks of a side that run at a time: all must wait for `full`. */
  tasks: number;
  /** The kernel keeps this part of the memory free. */
  reserve: number;
  /** Of what is taken away, the part that stays in memory: compressed. */
  kept: number;
}

const nvme: HeatCosts = {
  refaultUs: 90,
  fetchBytes: 1.5 * 2 ** 30,
  reclaimBytes: 4 * 2 ** 30,
  tasks: 4,
  reserve: 0.01,
  kept: 0,
};

/**
 * Where pages that are taken away go, and come back from. A page takes 80 to 100 us from NVMe, 150 to 500 from SATA and
 * some 10 from zram, where three of five go (the others are files), to two fifths of their size.
 */
export const swaps = {
  nvme,
  sata: { ...nvme, refaultUs: 300, fetchBytes: 0.5 * 2 ** 30, reclaimBytes: 2 ** 30 },
  zram: { ...nvme, refaultUs: 10, reclaimBytes: 2 * 2 ** 30, kept: 0.24 },
} as const satisfies Record<string, HeatCosts>;

export type SwapOn = keyof typeof swaps;

/** No more of the memory is given to what is compressed in it. */
const KEPT_MOST = 0.5;

const PAGE = 4096;

/** Memory of processes; the rest is page cache. */
const ANON = 0.6;

/** What one second of reclaim took from a side. */
interface Taken {
  bytes: number;
  warm: number;
}

/**
 * What the kernel takes from each side when the machine is full: by what each has above its protection, and only when
 * that is not enough from what is protected.
 */
function shares(held: [number, number], low: [number, number], excess: number): [number, number] {
  const over = [Math.max(0, held[0] - low[0]), Math.max(0, held[1] - low[1])] as const;
  const sum = over[0] + over[1];
  const taken = Math.min(excess, sum);
  const rest = excess - taken;
  const all = held[0] + held[1];
  const part = (at: 0 | 1) =>
    (sum > 0 ? (taken * over[at]) / sum : 0) + (all > 0 ? (rest * held[at]) / all : 0);
  return [part(0), part(1)];
}

/** Waiting of a side, from pages fetched and time spent to take pages away. */
function waits(
  fetched: number,
  reclaimed: number,
  costs: HeatCosts,
): { some: number; full: number } {
  const seconds = (fetched / PAGE) * (costs.refaultUs / 1e6) + reclaimed / costs.reclaimBytes;
  const some = 1 - Math.exp(-seconds);
  return { some, full: (1 - Math.exp(-seconds / costs.tasks)) ** costs.tasks };
}

/** Counters as the kernel keeps them. */
interface Counters {
  someUs: number;
  fullUs: number;
  refaults: number;
  activations: number;
  highEvents: number;
}

const zero = (): Counters => ({ someUs: 0, fullUs: 0, refaults: 0, activations: 0, highEvents: 0 });

type Pair<T> = Record<Side, T>;

/** A side as its files would tell. */
function seen(
  side: Side,
  pages: Pair<HeatSide>,
  knobs: Pair<SideKnobs>,
  counters: Pair<Counters>,
): SideObservation {
  const currentBytes = sizeOf(pages[side]);
  const { someUs, fullUs, refaults, activations, highEvents } = counters[side];
  return {
    group: side,
    currentBytes,
    anonBytes: currentBytes * ANON,
    fileBytes: currentBytes * (1 - ANON),
    refaults,
    activations,
    highEvents,
    pressure: { someUs, fullUs },
    low: knobs[side].low,
    high: amountOf(knobs[side].high),
  };
}

/**
 * The model with page heat. Pages of a program are of five heats (see `pages.ts`); what nobody turns to is cold; files
 * pass through the page cache. Reclaim takes the coldest pages of a side, but does not compare the sides: that is what
 * the knobs are for. A side is short of working set that is taken from it: it will be fetched again within a minute.
 * That was avoidable as far as there was free memory, or the other side held pages colder than that.
 */
export function heatMachine(scenario: Scenario, costs: HeatCosts = nvme): SimulatedMachine {
  const { totalBytes } = scenario;
  const all = totalBytes * (1 - costs.reserve);
  const knobs: Record<Side, SideKnobs> = { user: { ...FREE }, system: { ...FREE } };
  const pages: Record<Side, HeatSide> = { user: emptySide(), system: emptySide() };
  const counters = { user: zero(), system: zero() };

  /** What is left beside what is compressed. */
  const roomNow = (): number => {
    const away = missingOf(pages.user) + missingOf(pages.system);
    return all - Math.min(KEPT_MOST * all, costs.kept * away);
  };

  /** Demand of this second, and what had to be fetched for it. */
  const demand = (side: Side, second: number): number => {
    move(pages[side], scenario.sides[side], second);
    const { bytes, warm } = pageIn(pages[side], costs.fetchBytes / 2);
    counters[side].refaults += bytes / PAGE;
    counters[side].activations += warm / PAGE;
    return bytes;
  };

  const limit = (side: Side): Taken => {
    const over = sizeOf(pages[side]) - knobs[side].high;
    if (over <= 0) return { bytes: 0, warm: 0 };
    counters[side].highEvents++;
    const bytes = Math.min(over, costs.reclaimBytes);
    return { bytes, warm: takeColdest(pages[side], bytes) };
  };

  const squeeze = (): Record<Side, Taken> => {
    const held: [number, number] = [sizeOf(pages.user), sizeOf(pages.system)];
    // What is taken away leaves a part behind.
    const excess = (held[0] + held[1] - roomNow()) / (1 - costs.kept);
    if (excess <= 0) return { user: { bytes: 0, warm: 0 }, system: { bytes: 0, warm: 0 } };
    const [user, system] = shares(held, [knobs.user.low, knobs.system.low], excess);
    return {
      user: { bytes: user, warm: takeColdest(pages.user, user) },
      system: { bytes: system, warm: takeColdest(pages.system, system) },
    };
  };

  const advance = (second: number): Second => {
    const fetched = {
      user: demand('user', second),
      system: demand('system', second),
    };
    const limited = { user: limit('user'), system: limit('system') };
    const squeezed = squeeze();
    const free = Math.max(0, roomNow() - sizeOf(pages.user) - sizeOf(pages.system));
    const cold = { user: coldOf(pages.user), system: coldOf(pages.system) };
    const warm = (side: Side) => limited[side].warm + squeezed[side].warm;
    let left = free;
    const one = (side: Side, other: Side): SideSecond => {
      const shortBytes = warm(side);
      const reclaimedBytes = limited[side].bytes + squeezed[side].bytes;
      const avoidableBytes = Math.min(shortBytes, left + cold[other]);
      left = Math.max(0, left - avoidableBytes);
      const { some, full } = waits(fetched[side], reclaimedBytes, costs);
      const count = counters[side];
      count.someUs += some * 1e6;
      count.fullUs += full * 1e6;
      return {
        shortBytes,
        avoidableBytes,
        reclaimedBytes,
        refaultedBytes: fetched[side],
        waited: some,
      };
    };
    return { user: one('user', 'system'), system: one('system', 'user') };
  };

  const observe = (second: number): Observation => {
    const [user, system] = [
      seen('user', pages, knobs, counters),
      seen('system', pages, knobs, counters),
    ];
    const cache = cacheOf(pages.user) + cacheOf(pages.system);
    return {
      atMs: second * 1000,
      totalBytes,
      availableBytes: Math.max(0, roomNow() - user.currentBytes - system.currentBytes) + cache,
      swapTotalBytes: totalBytes,
      swapFreeBytes: totalBytes,
      sides: { user, system },
    };
  };
  const wanted = () => ({ user: wantsOf(pages.user), system: wantsOf(pages.system) });
  return { advance, observe, wanted, ...knobAccess(knobs) };
}
