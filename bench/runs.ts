import type { Bar } from './bar.ts';

/**
 * How far a bar is from its limit, 1 at the limit, smaller is better; where there is no limit, all are alike. What may never
 * happen counts when it happens in any run.
 */
function distance({ value, limit, atLeast }: Bar): number {
  // What could not be measured is no run's best.
  if (Number.isNaN(value)) return Number.POSITIVE_INFINITY;
  if (limit === null) return 0;
  if (limit === 0) return -value;
  return atLeast ? limit / value : value / limit;
}

/**
 * Each bar as the best of several runs has it, with what all of them gave: what else goes on in a machine only ever makes a
 * figure worse. Expects the same bars in the same order from each run.
 */
export function bestOf(runs: readonly (readonly Bar[])[]): Bar[] {
  const [first = []] = runs;
  return first.map((bar, index) => {
    const all = runs.map((run) => run[index]);
    if (all.some((one) => one?.bar !== bar.bar)) throw new Error(`not in every run: ${bar.bar}`);
    const same = all as Bar[];
    const best = same.reduce((one, other) => (distance(other) < distance(one) ? other : one));
    return { ...best, runs: same.map(({ value }) => value) };
  });
}

/** Runs a bench until every bar has held in one of its runs, `max` times at most. */
export async function untilHeld(run: () => Promise<Bar[]>, max: number): Promise<Bar[]> {
  const runs = [await run()];
  while (runs.length < max && bestOf(runs).some(({ holds }) => holds === false))
    runs.push(await run());
  return bestOf(runs);
}
