/** One line of a bench: a measured value held against its limit, beside the figures of its peers. */
export interface Bar {
  bar: string;
  value: number;
  unit: string;
  /** The value must not be above this (below it when `atLeast`); null: measured, no limit set. */
  limit: number | null;
  atLeast?: true;
  holds: boolean | null;
  /** How many measurements the value rests on. */
  n: number;
  /** What others reached in the same run, same unit; a string is the reason why one was left out. */
  peer: Record<string, number | string>;
  /** Where samples were drawn: between these lies what 95 of 100 such samples would say. */
  interval?: [low: number, high: number];
  peerIntervals?: Record<string, [low: number, high: number]>;
  /** What each run gave, this one's value among them. */
  runs?: number[];
}

/** The bar with the intervals of its own value and of its peers, as far as they are known. */
export function withIntervals(
  bar: Bar,
  own: string,
  intervals: Readonly<Record<string, readonly [number, number] | undefined>>,
): Bar {
  const known = Object.entries(intervals).flatMap(([name, interval]) =>
    interval
      ? [[name, [round(interval[0]), round(interval[1])]] as [string, [number, number]]]
      : [],
  );
  const mine = known.find(([name]) => name === own)?.[1];
  return {
    ...bar,
    ...(mine && { interval: mine }),
    peerIntervals: Object.fromEntries(known.filter(([name]) => name !== own)),
  };
}

/** A bar whose value is to stay at or below `limit`. */
export function atMost(
  bar: string,
  value: number,
  unit: string,
  limit: number | null,
  n: number,
  peer: Bar['peer'] = {},
): Bar {
  const holds = limit === null ? null : value <= limit;
  return {
    bar,
    value: round(value),
    unit,
    limit: limit === null ? null : round(limit),
    holds,
    n,
    peer,
  };
}

/** A bar whose value is to stay at or above `limit`. */
export function atLeast(
  bar: string,
  value: number,
  unit: string,
  limit: number,
  n: number,
  peer: Bar['peer'] = {},
): Bar {
  return { ...atMost(bar, value, unit, limit, n, peer), atLeast: true, holds: value >= limit };
}

/** Three significant digits below 100, whole numbers above. */
export function round(value: number): number {
  if (!Number.isFinite(value)) return value;
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}

/** The bars as a table for people. */
export function table(bars: readonly Bar[]): string {
  const rows = bars.map((bar) => [
    bar.holds === null ? ' ' : bar.holds ? 'holds' : 'MISSED',
    bar.bar,
    `${bar.value} ${bar.unit}${bar.interval ? ` (${bar.interval.join(' to ')})` : ''}${bar.runs && bar.runs.length > 1 ? ` (runs: ${bar.runs.join(', ')})` : ''}`,
    bar.limit === null ? '' : `${bar.atLeast ? '>=' : '<='} ${bar.limit}`,
    `n=${bar.n}`,
    Object.entries(bar.peer)
      .map(
        ([name, figure]) => `${name} ${typeof figure === 'number' ? round(figure) : `(${figure})`}`,
      )
      .join(', '),
  ]);
  const heads = ['', 'bar', 'value', 'limit', 'n', 'beside it, in the same run'];
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...rows.map((r) => r[i]?.length ?? 0)),
  );
  return [heads, ...rows]
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
