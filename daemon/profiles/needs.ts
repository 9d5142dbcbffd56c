import type { Fragment } from './fragment.ts';
import { mostWait, onDisk } from './gain.ts';
import type { RunFigures } from './run-figures.ts';

/** What the runs of an application by one user have come to. */
export interface Needs {
  /** All runs. */
  runs: number;
  /** When the last of them was seen. */
  dateMs: number;
  /** The last ones, the newest last; each is known by when it began. */
  last: readonly (RunFigures & { sinceMs: number })[];
}

/** What an application needs changes with its versions and its work: older runs are forgotten. */
const KEPT = 8;
/** What it did on the disk is remembered while it works in memory: nothing is learned of that there. */
const KEPT_ON_DISK = 3;

export const noNeeds: Needs = { runs: 0, dateMs: 0, last: [] };

/** With one more run, or with more of one that was there already. Pure. */
export function needsWith(needs: Needs, run: Needs['last'][number], dateMs: number): Needs {
  const others = needs.last.filter(({ sinceMs }) => sinceMs !== run.sinceMs);
  const isNew = others.length === needs.last.length;
  const all = [...others, run];
  const kept = new Set([...all.slice(-KEPT), ...all.filter(onDisk).slice(-KEPT_ON_DISK)]);
  return {
    runs: needs.runs + (isNew ? 1 : 0),
    dateMs,
    last: all.filter((one) => kept.has(one)),
  };
}

/** How sure so many runs are: one is a third, two are half, eight are four fifths. Pure. */
export const confidenceOf = (runs: number): number => Number((runs / (runs + 2)).toFixed(2));

/** The middle one of an even number is the upper one. */
const middle = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const most = (values: readonly number[]): number => Math.max(...values);

/** What it did on the disk in its last runs there, as what it says of the application. Pure. */
function onDiskOf(id: string, { dateMs, last }: Needs): Fragment[] {
  const runs = last.flatMap((run) => onDisk(run) ?? []);
  const most = mostWait(runs);
  if (most === undefined) return [];
  const { share: diskWait, from } = most;
  const confidence = confidenceOf(runs.length);
  return [{ of: { id }, source: 'measured', from, confidence, dateMs, values: { diskWait } }];
}

/** How often it waits for a write in a second, in the runs in which it was counted: none of those that worked in memory. Pure. */
function syncRateOf(runs: readonly RunFigures[]): number | undefined {
  const rates = runs.flatMap(({ syncs, ranMs = 0 }) =>
    syncs === undefined || ranMs <= 0 ? [] : (1_000 * syncs) / ranMs,
  );
  return rates.length === 0 ? undefined : Number(middle(rates).toPrecision(2));
}

/** All that was measured of an application. Pure. */
export const fragmentsOf = (id: string, needs: Needs): Fragment[] => [
  fragmentOf(id, needs),
  ...onDiskOf(id, needs),
];

/** What was measured, whatever it worked on, as what it says of the application. Pure. */
export function fragmentOf(id: string, { runs, dateMs, last }: Needs): Fragment {
  const over = (name: keyof RunFigures, of: (values: readonly number[]) => number) => {
    const values = last.slice(-KEPT).flatMap((run) => run[name] ?? []);
    return values.length === 0 ? undefined : of(values);
  };
  const all = {
    memory: over('peakBytes', most),
    typicalMemory: over('typicalBytes', middle),
    processors: over('processors', middle),
    // Only a start that finds nothing in memory reads all of it.
    coldRead: over('coldBytes', most),
    startTime: over('startMs', middle),
    syncRate: syncRateOf(last),
  };
  return {
    of: { id },
    source: 'measured',
    from: runs === 1 ? 'one run' : `${runs} runs`,
    confidence: confidenceOf(runs),
    dateMs,
    values: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
  };
}
