import {
  compare,
  comparedNames,
  type Model,
  type Row,
  seededScenario,
} from '../daemon/partitions/simulator/comparison.ts';
import { publishedTable } from '../daemon/partitions/simulator/published.ts';
import { atMost, type Bar } from './bar.ts';

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

/** The bars of the default policy on one model. */
function barsOf(model: Model, rows: readonly Row[]): Bar[] {
  const ours = rows.find(({ policy }) => policy === 'protective')!;
  const oracle = rows.find(({ policy }) => policy === 'oracle')!;
  const n = ours.scenarios;
  const bar = (
    name: string,
    unit: string,
    limit: number | null,
    value: (row: Row) => number | undefined,
  ) => {
    const own = value(ours);
    // Where there was nothing to measure, no bar is held.
    const [text, bound] = own === undefined ? [`${name}: nothing to relieve`, null] : [name, limit];
    return atMost(`${text} (${model})`, own ?? 0, unit, bound, n, peers(rows, value));
  };
  return [
    bar('avoidable part of the shortage', '%', 2, (row) => row.avoidable * 100),
    bar('limit writes in an hour, median', '', 10, (row) => row.writesMedian),
    bar('moves taken back within 60 s, per hour', '', 0, (row) => row.reversals),
    bar('relief, 95th percentile', 's', 2, (row) => row.reliefP95),
    bar('shortage against the oracle', 'x', 1.05, (row) => row.shortGiBs / oracle.shortGiBs),
    bar(
      'forced reclaim against the oracle',
      'x',
      1.1,
      (row) => row.reclaimedGiB / oracle.reclaimedGiB,
    ),
  ];
}

/** How far the model without page heat is from the published table. */
function tableBars(): Bar[] {
  return publishedTable().map(({ what, ours, published, seeds }) =>
    atMost(`published table: ${what}`, Math.abs(ours / published - 1) * 100, '% off', 15, seeds, {
      ours,
      published,
    }),
  );
}

/** Runs everything: minutes with 200 seeds. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const seeds = quick ? 20 : 200;
  const models: Model[] = ['first-order', 'heat'];
  const bars = models.flatMap((model) =>
    barsOf(model, compare(comparedNames, model, scenarios(model, seeds))),
  );
  const [plain, hinted] = [false, true].map(
    (hints) => compare(['protective'], 'heat', scenarios('heat', Math.min(seeds, 50)), hints)[0]!,
  );
  const gain = hinted!.shortGiBs / plain!.shortGiBs;
  return [
    ...bars,
    atMost(
      'shortage with launches announced, against without (heat)',
      gain,
      'x',
      null,
      hinted!.scenarios,
    ),
    ...tableBars(),
  ];
}
