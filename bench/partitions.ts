import type { Interval } from '../daemon/partitions/simulator/bootstrap.ts';
import {
  comparedNames,
  type Figures,
  type Model,
  type Row,
  type Runs,
  ratioInterval,
  rowsOf,
  runAll,
  seededScenario,
} from '../daemon/partitions/simulator/comparison.ts';
import { publishedTable } from '../daemon/partitions/simulator/published.ts';
import { atMost, type Bar, withIntervals } from './bar.ts';

export const summary = 'Policies of memory shares, on the simulator: seeds 1 to 200';

function* scenarios(model: Model, seeds: number) {
  for (let seed = 1; seed <= seeds; seed++) yield seededScenario(model, seed);
}

/** The same figure of every other policy. */
const peers = (rows: readonly Row[], value: (row: Row) => number | undefined): Bar['peer'] =>
  Object.fromEntries(
    rows
      .filter(({ policy }) => policy !== 'protective')
      .map((row) => [row.policy, value(row) ?? 'nothing to relieve']),
  );

const OURS = 'protective';
const ORACLE = 'oracle';

/** The bars of the default policy on one model. */
function barsOf(model: Model, runs: Runs): Bar[] {
  const rows = rowsOf(runs);
  const ours = rows.find(({ policy }) => policy === OURS)!;
  const oracle = rows.find(({ policy }) => policy === ORACLE)!;
  const n = ours.scenarios;
  const bar = (
    name: string,
    unit: string,
    limit: number | null,
    value: (row: Row) => number | undefined,
    interval: (row: Row) => Interval | undefined,
  ) => {
    const own = value(ours);
    // Where there was nothing to measure, no bar is held.
    const [text, bound] = own === undefined ? [`${name}: nothing to relieve`, null] : [name, limit];
    const all = Object.fromEntries(rows.map((row) => [row.policy, interval(row)]));
    const one = atMost(`${text} (${model})`, own ?? 0, unit, bound, n, peers(rows, value));
    return withIntervals(one, OURS, all);
  };
  const plain = (name: string, unit: string, limit: number, figure: keyof Figures, times = 1) =>
    bar(
      name,
      unit,
      limit,
      (row) => scaled(row[figure], times),
      ({ intervals }) => {
        const [low, high] = intervals?.[figure] ?? [];
        return low === undefined || high === undefined ? undefined : [low * times, high * times];
      },
    );
  const ratio = (name: string, limit: number, figure: 'shortGiBs' | 'reclaimedGiB') =>
    bar(
      name,
      'x',
      limit,
      (row) => row[figure] / oracle[figure],
      ({ policy }) => ratioInterval(runs, [policy, ORACLE], figure),
    );
  return [
    plain('avoidable part of the shortage', '%', 2, 'avoidable', 100),
    plain('limit writes in an hour, median', '', 10, 'writesMedian'),
    plain('moves taken back within 60 s, per hour', '', 0, 'reversals'),
    plain('relief, 95th percentile', 's', 2, 'reliefP95'),
    ratio('shortage against the oracle', 1.05, 'shortGiBs'),
    ratio('forced reclaim against the oracle', 1.1, 'reclaimedGiB'),
  ];
}

const scaled = (value: number | undefined, times: number) =>
  value === undefined ? undefined : value * times;

/** How far the model without page heat is from the published table. */
async function tableBars(): Promise<Bar[]> {
  return (await publishedTable()).map(({ what, ours, published, seeds }) =>
    atMost(`published table: ${what}`, Math.abs(ours / published - 1) * 100, '% off', 15, seeds, {
      ours,
      published,
    }),
  );
}

/** What announced launches are worth to the default policy: its shortage with them, in relation to that without. */
async function hintBar(plain: Runs, seeds: number): Promise<Bar> {
  const both: Runs = new Map([
    ['with', (await runAll([OURS], 'heat', scenarios('heat', seeds), { hints: true })).get(OURS)!],
    ['without', plain.get(OURS)!],
  ]);
  const [hinted, without] = rowsOf(both).map(({ shortGiBs }) => shortGiBs) as [number, number];
  const name = 'shortage with launches announced, against without (heat)';
  const peer = { with: hinted, without };
  const bar = atMost(name, hinted / without, 'x', null, seeds, peer);
  return withIntervals(bar, OURS, {
    [OURS]: ratioInterval(both, ['with', 'without'], 'shortGiBs'),
  });
}

/** Runs everything: minutes with 200 seeds. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const seeds = quick ? 20 : 200;
  const runs = (model: Model) => runAll(comparedNames, model, scenarios(model, seeds));
  const [firstOrder, heat] = [await runs('first-order'), await runs('heat')];
  return [
    ...barsOf('first-order', firstOrder),
    ...barsOf('heat', heat),
    await hintBar(heat, seeds),
    ...(await tableBars()),
  ];
}
