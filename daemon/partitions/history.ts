/** Sizes of what is kept: one row for each time of this length, the newest so many of them. All of it stays below 4 MB. */
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
  'userIoWaiting',
  'systemIoWaiting',
  'readBytesPerSecond',
  'writtenBytesPerSecond',
  'diskRequestsPerSecond',
  'diskLatencyMs',
  'diskInFlight',
  'freeSpaceBytes',
] as const;

/** The same of each disk. */
export const diskFields = [
  'readBytesPerSecond',
  'writtenBytesPerSecond',
  'requestsPerSecond',
  'latencyMs',
  'inFlight',
  'busy',
] as const;

/** Of more disks only the sum is kept. */
const disksMost = 4;

export type HistoryField = (typeof historyFields)[number];
export type DiskField = (typeof diskFields)[number];

type Values<Field extends string> = Partial<Record<Field, number>>;
/** Of each field the sum of its values times their weights, and the sum of the weights. */
export type Sums<Field extends string> = Partial<Record<Field, [sum: number, weight: number]>>;

/** What one look adds; what is not known is absent. */
export interface Sample extends Values<HistoryField> {
  /** By name. */
  disks?: Record<string, Values<DiskField>>;
}

/** One row: the means of some samples. */
export interface HistoryRow {
  /** Length of its time. */
  stepMs: number;
  /** Beginning of its time, in milliseconds since 1970. */
  atMs: number;
  sums: Sums<HistoryField>;
  /** By name; absent where no disk was seen. */
  disks?: Record<string, Sums<DiskField>>;
}

/** Where a row lies: the row that is a whole round older has the same place, and is replaced. Pure. */
export const placeOf = (stepMs: number, rows: number, atMs: number): number =>
  Math.floor(atMs / stepMs) % rows;

function means<Field extends string>(fields: readonly Field[], sums: Sums<Field>): Values<Field> {
  const values: Values<Field> = {};
  for (const field of fields) {
    const [sum, weight] = sums[field] ?? [0, 0];
    if (weight > 0) values[field] = sum / weight;
  }
  return values;
}

/** The means of a row. Pure. */
export function meansOf({ sums, disks }: HistoryRow): Sample {
  const ofDisks = Object.entries(disks ?? {}).map(([name, one]) => [name, means(diskFields, one)]);
  return {
    ...means(historyFields, sums),
    ...(disks && { disks: Object.fromEntries(ofDisks) }),
  };
}

function plus<Field extends string>(
  fields: readonly Field[],
  sums: Sums<Field>,
  values: Values<Field>,
  weightOf: (field: Field) => number,
): Sums<Field> {
  const next = { ...sums };
  for (const field of fields) {
    const value = values[field];
    const weight = weightOf(field);
    if (value === undefined || !Number.isFinite(value) || weight <= 0) continue;
    const [sum, all] = next[field] ?? [0, 0];
    next[field] = [sum + value * weight, all + weight];
  }
  return next;
}

/** A value counts by the time it stands for; how long requests took, by how many did. */
function added(row: HistoryRow, sample: Sample, ms: number): HistoryRow {
  const { diskRequestsPerSecond = 0 } = sample;
  const sums = plus(historyFields, row.sums, sample, (field) =>
    field === 'diskLatencyMs' ? ms * diskRequestsPerSecond : ms,
  );
  if (sample.disks === undefined) return { ...row, sums };
  const disks = { ...row.disks };
  for (const [name, one] of Object.entries(sample.disks)) {
    if (!Object.hasOwn(disks, name) && Object.keys(disks).length >= disksMost) continue;
    const { requestsPerSecond = 0 } = one;
    disks[name] = plus(diskFields, disks[name] ?? {}, one, (field) =>
      field === 'latencyMs' ? ms * requestsPerSecond : ms,
    );
  }
  return { ...row, sums, disks };
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
