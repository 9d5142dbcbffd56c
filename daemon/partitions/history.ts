/** Sizes of what is kept: one row for each time of this length, the newest so many of them. All of it stays below 1 MB. */
export const historySteps = [
  { ms: 10_000, rows: 360 },
  { ms: 60_000, rows: 720 },
  { ms: 15 * 60_000, rows: 672 },
  { ms: 24 * 3_600_000, rows: 366 },
] as const;

/** What is plotted: means over the time of a row. Bytes, bytes per second, shares of the time (0 to 1), ms. */
export const historyFields = [
  'availableBytes',
  'totalBytes',
  'swapUsedBytes',
  'userBytes',
  'systemBytes',
  'waiting',
  'userWaiting',
  'systemWaiting',
  'readBytesPerSecond',
  'writtenBytesPerSecond',
  'diskLatencyMs',
  'diskInFlight',
  'freeSpaceBytes',
] as const;

export type HistoryField = (typeof historyFields)[number];
/** What one look adds; what is not known is absent. */
export type Sample = Partial<Record<HistoryField, number>>;

/** One row: the means of some samples. */
export interface HistoryRow {
  /** Length of its time. */
  stepMs: number;
  /** Beginning of its time, in milliseconds since 1970. */
  atMs: number;
  /** Of each field the sum of its values times their weights, and the sum of the weights. */
  sums: Partial<Record<HistoryField, [sum: number, weight: number]>>;
}

/** Where a row lies: the row that is a whole round older has the same place, and is replaced. Pure. */
export const placeOf = (stepMs: number, rows: number, atMs: number): number =>
  Math.floor(atMs / stepMs) % rows;

/** The means of a row. Pure. */
export function meansOf({ sums }: HistoryRow): Sample {
  const means: Sample = {};
  for (const field of historyFields) {
    const [sum, weight] = sums[field] ?? [0, 0];
    if (weight > 0) means[field] = sum / weight;
  }
  return means;
}

function added(row: HistoryRow, sample: Sample, weight: number): HistoryRow {
  const sums = { ...row.sums };
  for (const field of historyFields) {
    const value = sample[field];
    if (value === undefined || !Number.isFinite(value)) continue;
    const [sum, all] = sums[field] ?? [0, 0];
    sums[field] = [sum + value * weight, all + weight];
  }
  return { ...row, sums };
}

/**
 * Adds a sample to the row of its time in each ring. `open` are the rows that are not full yet. Answers those that are
 * open now, and those that are over. Pure.
 */
export function addSample(
  open: readonly HistoryRow[],
  sample: Sample,
  weight: number,
  wallMs: number,
): { open: HistoryRow[]; over: HistoryRow[] } {
  const over: HistoryRow[] = [];
  const next = historySteps.map(({ ms }) => {
    const atMs = Math.floor(wallMs / ms) * ms;
    const row = open.find(({ stepMs }) => stepMs === ms);
    if (row !== undefined && row.atMs !== atMs) over.push(row);
    const mine = row?.atMs === atMs ? row : { stepMs: ms, atMs, sums: {} };
    return added(mine, sample, weight);
  });
  return { open: next, over };
}
