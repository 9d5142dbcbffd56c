import test from 'ava';
import fc from 'fast-check';
import { bootstrap } from '../../../../daemon/partitions/simulator/bootstrap.ts';
import {
  ratioInterval,
  rowsOf,
  runAll,
  seededScenario,
} from '../../../../daemon/partitions/simulator/comparison.ts';

const meanOf = (values: readonly number[]) => (drawn: readonly number[]) =>
  drawn.reduce((sum, at) => sum + (values[at] as number), 0) / drawn.length;

test('an interval lies around the mean, within the values, and is the same each time', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 60 }),
      (values) => {
        const interval = bootstrap(values.length, meanOf(values));
        if (interval === undefined) return false;
        const [low, high] = interval;
        const again = bootstrap(values.length, meanOf(values));
        return (
          low <= high &&
          low >= Math.min(...values) &&
          high <= Math.max(...values) &&
          again?.[0] === low &&
          again[1] === high
        );
      },
    ),
    { numRuns: 30 },
  );
  t.pass();
});

test('of a normal sample it is as wide as the textbook says', (t) => {
  // Sums of twelve even numbers: mean 6, standard deviation 1.
  let state = 1;
  const even = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const values = Array.from({ length: 400 }, () =>
    Array.from({ length: 12 }, even).reduce((sum, one) => sum + one, 0),
  );
  const [low, high] = bootstrap(values.length, meanOf(values)) ?? [0, 0];
  const width = (2 * 1.96) / Math.sqrt(values.length);
  t.true(Math.abs(high - low - width) < 0.15 * width, `${high - low} against ${width}`);
});

test('one scenario, or a figure that is not always there, has no interval', (t) => {
  t.is(
    bootstrap(1, () => 1),
    undefined,
  );
  t.is(
    bootstrap(9, (drawn) => (drawn.includes(0) ? 1 : undefined)),
    undefined,
  );
});

test('a table has an interval for each figure, and a ratio to itself is one', async (t) => {
  const seeds = [1, 2, 3].map((seed) => seededScenario('first-order', seed));
  const runs = await runAll(['threshold', 'oracle'], 'first-order', seeds);
  for (const row of rowsOf(runs)) {
    const [low, high] = row.intervals!.shortGiBs!;
    t.true(low <= row.shortGiBs && row.shortGiBs <= high);
    t.truthy(row.intervals!.writesMedian);
  }
  t.deepEqual(ratioInterval(runs, ['oracle', 'oracle'], 'shortGiBs'), [1, 1]);
  const one = await runAll(['static'], 'first-order', seeds.slice(0, 1));
  t.is(rowsOf(one)[0]!.intervals, undefined);
});
