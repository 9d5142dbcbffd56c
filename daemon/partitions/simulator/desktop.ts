import { sides } from '../observation.ts';
import { type Random, seeded } from './random.ts';
import { type Load, type Scenario, scenarioOf } from './scenario.ts';

const GiB = 2 ** 30;

/** What the generator draws from. Shares are of the total memory; times in seconds. */
export interface Desktop {
  totalBytes: number;
  seconds: number;
  /** Held all the time. */
  userBase: number;
  systemBase: number;
  /** Programs of the user. */
  appEvery: number;
  appStays: number;
  appLeast: number;
  appMost: number;
  appRamp: number;
  /** What the user's programs may want together: the one that began first is closed for the next. */
  appsMost: number;
  /** What the machine does beside: updates, builds, indexing. */
  burstEvery: number;
  burstStays: number;
  burstLeast: number;
  burstMost: number;
  burstRamp: number;
  /** What comes and goes all the time, on both sides. */
  churnEvery: number;
  churnStays: number;
  churnMost: number;
  /** The user turns to another program, and back. */
  turnEvery: number;
  /** Files that a burst reads or writes once, bytes per second; and in how many of them. */
  stream: number;
  streamShare: number;
}

/** Events that come `every` seconds on average. */
function* arrivals(random: Random, every: number, seconds: number): Generator<number> {
  for (let at = random.exponential(every); at < seconds; at += random.exponential(every))
    yield Math.floor(at);
}

function turnsOf(random: Random, start: number, end: number, every: number): number[] {
  const turns: number[] = [];
  if (!Number.isFinite(every)) return turns;
  for (let at = start + random.exponential(every); at < end; at += random.exponential(every))
    turns.push(Math.floor(at) + turns.length);
  return turns;
}

/** Programs that the user starts, uses and closes. */
function userPrograms(random: Random, form: Desktop): Load[] {
  const { totalBytes, seconds } = form;
  const open: { start: number; end: number; bytes: number }[] = [];
  const all: typeof open = [];
  // Begun before we look: a machine in the middle of its day.
  const before = Math.round(form.appStays * 2);
  for (const at of arrivals(random, form.appEvery, seconds + before)) {
    const start = at - before;
    const end = Math.ceil(start + random.exponential(form.appStays));
    const bytes = random.between(form.appLeast, form.appMost) * totalBytes;
    const app = { start, end, bytes };
    const running = open.filter((one) => one.end > start);
    let sum = running.reduce((bytesOfAll, one) => bytesOfAll + one.bytes, bytes);
    for (const one of running) {
      if (sum <= form.appsMost * totalBytes) break;
      one.end = start;
      sum -= one.bytes;
    }
    open.splice(0, open.length, ...running.filter((one) => one.end > start), app);
    all.push(app);
  }
  return all
    .filter(({ end }) => end > 0)
    .map(({ start, end, bytes }) => {
      const from = Math.max(0, start);
      const turns = turnsOf(random, from, end, form.turnEvery);
      return { side: 'user', start: from, ramp: form.appRamp, end, bytes, turns };
    });
}

/** A desktop's afternoon, fixed by its seed. */
export function desktopScenario(seed: number, form: Desktop): Scenario {
  const random = seeded(seed);
  const { totalBytes, seconds } = form;
  const loads: Load[] = [
    { side: 'user', start: 0, ramp: 1, end: seconds, bytes: form.userBase * totalBytes, turns: [] },
    {
      side: 'system',
      start: 0,
      ramp: 1,
      end: seconds,
      bytes: form.systemBase * totalBytes,
      turns: [],
    },
  ];
  loads.push(...userPrograms(random, form));
  for (const start of arrivals(random, form.burstEvery, seconds)) {
    const end = Math.ceil(start + random.exponential(form.burstStays));
    const bytes = random.between(form.burstLeast, form.burstMost) * totalBytes;
    const streams = random.next() < form.streamShare;
    const load: Load = { side: 'system', start, ramp: form.burstRamp, end, bytes, turns: [] };
    loads.push(streams ? { ...load, bytes: bytes / 4, stream: form.stream } : load);
  }
  for (const side of sides)
    for (const start of arrivals(random, form.churnEvery, seconds)) {
      const end = Math.ceil(start + random.exponential(form.churnStays));
      const bytes = random.between(0, form.churnMost) * totalBytes;
      loads.push({ side, start, ramp: 1, end: Math.max(end, start + 1), bytes, turns: [] });
    }
  return scenarioOf(`desktop ${seed}`, totalBytes, seconds, loads);
}

/**
 * Without page heat. What the published first-order table tells of its generator stands as it does there (how often
 * programs come, the sizes of programs and bursts); what it does not tell was fitted to three of its four rows.
 */
export const firstOrderDesktop: Desktop = {
  totalBytes: 16 * GiB,
  seconds: 4 * 3600,
  userBase: 0.312,
  systemBase: 0.15,
  appEvery: 240,
  appStays: 692,
  appLeast: 0.03,
  appMost: 0.2,
  appRamp: 22,
  appsMost: 1.2,
  burstEvery: 2560,
  burstStays: 30,
  burstLeast: 0.1,
  burstMost: 0.45,
  burstRamp: 54,
  churnEvery: 15.9,
  churnStays: 2.93,
  churnMost: 0.0462,
  turnEvery: Number.POSITIVE_INFINITY,
  stream: 0,
  streamShare: 0,
};

/** With page heat: memory is mostly cold, so that more programs fit; files pass through the page cache. */
export const heatedDesktop: Desktop = {
  totalBytes: 16 * GiB,
  seconds: 4 * 3600,
  userBase: 0.08,
  systemBase: 0.1,
  appEvery: 240,
  appStays: 3000,
  appLeast: 0.03,
  appMost: 0.2,
  appRamp: 10,
  appsMost: Number.POSITIVE_INFINITY,
  burstEvery: 1200,
  burstStays: 300,
  burstLeast: 0.1,
  burstMost: 0.45,
  burstRamp: 20,
  churnEvery: 30,
  churnStays: 20,
  churnMost: 0.03,
  turnEvery: 1200,
  stream: 200 * 2 ** 20,
  streamShare: 0.5,
};
