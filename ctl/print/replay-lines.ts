import { formatSize } from '../../ipc/values.ts';
import { columns } from './columns.ts';
import type { Output } from './output.ts';
import { type Piece, padded, type Safe, say } from './safe.ts';
import { peakline } from './sparkline.ts';
import type { Style } from './style.ts';

/** A policy over all scenarios, as the simulator answers it. Rates are per hour. */
export interface ReplayRow {
  policy: string;
  shortSeconds: number;
  shortGiBs: number;
  avoidable: number;
  reclaimedGiB: number;
  refaultedGiB: number;
  writesMedian: number;
  reversals: number;
  reliefP50?: number;
  reliefP95?: number;
  waitedUser: number;
  waitedSystem: number;
  /** 95 % intervals of these figures over the scenarios, where there are several. */
  intervals?: Partial<Record<string, [low: number, high: number]>>;
}

/** How a policy shared the first scenario out: shares of the total, 0 to 1. */
export interface ReplayPlot {
  policy: string;
  seconds: number;
  used: { user: number[]; system: number[] };
  low: { user: number[]; system: number[] };
  high: { user: number[]; system: number[] };
  avoidable: number[];
}

export interface ReplayPage {
  scenario: string;
  model: string;
  hours: number;
  totalBytes: number;
  rows: ReplayRow[];
  plots: ReplayPlot[];
  remarks: string[];
}

const right = (title: string) => ({ title, side: 'right' as const });

/** Three digits are enough to compare by. */
const figure = (value: number): string =>
  value >= 100 || value === 0 ? value.toFixed(0) : value.toPrecision(2);

const seconds = (value: number) => `${value} s`;
const percent = (share: number) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
const gib = (value: number) => `${figure(value)} GiB`;

/** The columns: which figure, and how it is written. */
const shown = [
  ['shortSeconds', (value: number) => `${figure(value)} s`],
  ['shortGiBs', figure],
  ['avoidable', percent],
  ['reclaimedGiB', gib],
  ['refaultedGiB', gib],
  ['writesMedian', figure],
  ['reversals', figure],
  ['reliefP50', seconds],
  ['reliefP95', seconds],
  ['waitedUser', percent],
  ['waitedSystem', percent],
] as const;

const titles = [
  { title: 'POLICY' },
  ...['SHORT/H', 'GIB*S/H', 'AVOIDABLE', 'RECLAIM/H', 'REFAULT/H', 'WRITES/H', 'REVERSALS/H'].map(
    right,
  ),
  ...['RELIEF P50', 'P95', 'USER WAITS', 'SYSTEM'].map(right),
];

/** The figures of a policy, and below each the interval in which it lies for 95 of 100 such samples. */
function rowsOf(row: ReplayRow, { bold, dim }: Style): Piece[][] {
  const figures = shown.map(([name, text]) => {
    const value = row[name];
    return value === undefined ? '-' : text(value);
  });
  if (row.intervals === undefined) return [[bold(row.policy), ...figures]];
  const between = shown.map(([name, text]) => {
    const interval = row.intervals?.[name];
    return dim(
      interval === undefined
        ? ''
        : `${withoutUnit(text(interval[0]))}..${withoutUnit(text(interval[1]))}`,
    );
  });
  return [
    [bold(row.policy), ...figures],
    [dim('  95 %'), ...between],
  ];
}

const withoutUnit = (text: string): string => text.replace(/ .*/, '');

function plotLines(plot: ReplayPlot, { style, unicode, columns: wide }: Output): Safe[] {
  const width = Math.max(20, wide - 22);
  const line = (name: string, values: readonly number[], paint: (piece: Safe) => Safe) =>
    say`  ${padded(style.dim(name), 18)}${paint(peakline(values, width, unicode))}`;
  // A hundredth of the memory is a large shortage.
  const short = plot.avoidable.map((share) => Math.min(1, share * 50));
  return [
    style.bold(plot.policy),
    line('user has', plot.used.user, style.green),
    line('user protected', plot.low.user, style.dim),
    line('system has', plot.used.system, style.blue),
    line('system protected', plot.low.system, style.dim),
    line('could have had', short, style.red),
  ];
}

/** More plots than this would push the table off the screen; the file has them all. */
const PLOTS = 2;

/** The table, and the first plots of the first scenario below it. */
export function replayLines(page: ReplayPage, out: Output): Safe[] {
  const { style } = out;
  const of = `${page.hours} h, ${formatSize(page.totalBytes)}, ${page.model}`;
  return [
    say`${style.bold(page.scenario)}  ${style.dim(of)}`,
    ...page.remarks.map((remark) => style.dim(remark)),
    ...columns(
      titles,
      page.rows.flatMap((row) => rowsOf(row, style)),
      style,
    ),
    ...page.plots.slice(0, PLOTS).flatMap((plot) => plotLines(plot, out)),
  ];
}
