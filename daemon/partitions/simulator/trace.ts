import { PersonaError } from '../../../ipc/errors.ts';
import { type Side, sides } from '../observation.ts';
import { type Scenario, scenarioOfSeries } from './scenario.ts';

const GiB = 2 ** 30;
const KiB = 2 ** 10;

/** What a trace may be. Who reads the file checks `bytes` before it is in memory. */
export const traceLimits = {
  bytes: 32 * 2 ** 20,
  rows: 500_000,
  lineLength: 1000,
  /** A longer one is replayed in this time. */
  seconds: 24 * 3600,
  /** Of a value: more memory than any machine has. */
  memoryBytes: 2 ** 50,
} as const;

/** Samples of a trace: when, what each side had in memory, and what is told beside; NaN where it is not. */
interface Samples {
  times: number[];
  held: Record<Side, number[]>;
  beside?: {
    swapped: Record<Side, number[]>;
    waited: Record<Side, number[]>;
    /** Of what a side had in memory: page cache, which the machine counts as available, too. */
    cached: Record<Side, number[]>;
    /** Of the machine. */
    total: number[];
    available: number[];
  };
}

/** What was seen of the machine that a trace is of, second by second: the simulator says the same of its own. */
export interface Recorded {
  held: Record<Side, Float64Array>;
  /** Share of the time in which tasks of a side waited, 0 to 1; NaN: not told. */
  waited: Record<Side, Float64Array>;
}

/** A trace as a scenario, and what was done to make it one. */
export interface ReadTrace {
  scenario: Scenario;
  /** Absent where the trace has no waiting in it. */
  recorded?: Recorded;
  remarks: string[];
}

const bad = (line: number, reason: string): PersonaError =>
  new PersonaError('bad-value', { name: 'TRACE', reason: `line ${line}: ${reason}` });

/** The columns that are looked for in the first line of each known form. */
const BITBRAINS = ['Timestamp [ms]', 'Memory usage [KB]'] as const;
const OURS = ['seconds', 'user_bytes', 'system_bytes'] as const;
/** Columns that ours may have beside: of each side, and of the machine. */
const BESIDE = [
  ...['swap_bytes', 'waiting', 'cache_bytes'].flatMap((name) =>
    sides.map((side) => `${side}_${name}`),
  ),
  ...['total_bytes', 'available_bytes'],
];

const cellsOf = (line: string, separator: string): string[] =>
  line.split(separator).map((cell) => cell.trim());

function numberOf(cell: string | undefined, line: number, most: number): number {
  const value = /^\d{1,18}(\.\d{1,18})?$/.test(cell ?? '') ? Number(cell) : Number.NaN;
  if (!(value <= most)) throw bad(line, 'a value is not a number that memory or time can have');
  return value;
}

/**
 * Rows of the columns with these names, and of the columns `beside` them, NaN where a row or the trace has none.
 * Lines that hold nothing are passed over.
 */
function rowsOf(
  lines: readonly string[],
  separator: string,
  names: readonly string[],
  beside: readonly string[] = [],
): number[][] {
  const head = cellsOf(lines[0] ?? '', separator);
  const at = names.map((name) => head.indexOf(name));
  const atBeside = beside.map((name) => head.indexOf(name));
  const rows: number[][] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === '') continue;
    if (line.length > traceLimits.lineLength) throw bad(index + 1, 'it is too long');
    if (rows.length >= traceLimits.rows) throw bad(index + 1, `more than ${traceLimits.rows} rows`);
    const cells = cellsOf(line, separator);
    const number = (column: number) => numberOf(cells[column], index + 1, traceLimits.memoryBytes);
    const also = atBeside.map((column) => (cells[column] ? number(column) : Number.NaN));
    rows.push([...at.map(number), ...also]);
    const [before, now] = [rows.at(-2)?.[0], rows.at(-1)?.[0]];
    if (before !== undefined && now !== undefined && now <= before)
      throw bad(index + 1, 'time does not go on');
  }
  if (rows.length < 2) throw bad(1, 'a trace needs two rows');
  return rows;
}

/** A trace of one machine has one series: its first half is the user's side, its second half the system's. */
function bitbrains(rows: readonly number[][]): Samples {
  const half = Math.floor(rows.length / 2);
  const of = (from: number) => rows.slice(from, from + half).map((row) => (row[1] ?? 0) * KiB);
  const start = rows[0]?.[0] ?? 0;
  const times = rows.slice(0, half).map((row) => (row[0] ?? 0) - start);
  return { times, held: { user: of(0), system: of(half) } };
}

function ours(lines: readonly string[]): Samples {
  const rows = rowsOf(lines, ',', OURS, BESIDE);
  const one = (column: number) => rows.map((row) => row[column] as number);
  const pair = (from: number) => ({ user: one(from), system: one(from + 1) });
  const start = rows[0]?.[0] ?? 0;
  return {
    times: one(0).map((time) => time - start),
    held: pair(1),
    beside: {
      swapped: pair(3),
      waited: pair(5),
      cached: pair(7),
      total: one(9),
      available: one(10),
    },
  };
}

/** What a side asked for: also what was taken from it to swap. */
function wantsOf({ held, beside }: Samples, side: Side): number[] {
  return held[side].map((bytes, row) => bytes + (beside?.swapped[side][row] || 0));
}

/**
 * What was left to both sides of the machine, as the median of the samples: what they had beside page cache, and what
 * was available, which their page cache is part of. Undefined where the trace does not tell.
 */
function roomOf({ held, beside }: Samples): number | undefined {
  if (beside === undefined) return undefined;
  const { cached, total, available } = beside;
  const kept = (side: Side, row: number) =>
    Math.max(0, (held[side][row] as number) - (cached[side][row] || 0));
  const rooms = available
    .map((bytes, row) => bytes + kept('user', row) + kept('system', row))
    .map((bytes, row) => Math.min(bytes, total[row] as number))
    .filter((bytes) => !Number.isNaN(bytes));
  return Float64Array.from(rooms).sort()[Math.floor(rooms.length / 2)];
}

/** Values for every second, straight between the samples. */
function everySecond(times: readonly number[], values: readonly number[], speed: number) {
  const seconds = Math.max(2, Math.floor((times.at(-1) ?? 0) / speed));
  const out = new Float64Array(seconds);
  let at = 0;
  for (let second = 0; second < seconds; second++) {
    const time = second * speed;
    while (at + 2 < times.length && (times[at + 1] as number) <= time) at++;
    const [from, to] = [times[at] as number, times[at + 1] as number];
    const [low, high] = [values[at] as number, values[at + 1] as number];
    const part = Math.min(1, Math.max(0, (time - from) / (to - from || 1)));
    out[second] = low + (high - low) * part;
  }
  return out;
}

/**
 * A CSV trace as a scenario: ours (`seconds,user_bytes,system_bytes`, and what `partitions record` writes beside), or one
 * of the Bitbrains form (GWA-T-12, semicolons). Without `totalBytes` the machine is what was left to both sides when it
 * was recorded; where the trace does not tell, their greatest common use. Throws `bad-value` with the line.
 */
export function readTrace(name: string, text: string, totalBytes?: number): ReadTrace {
  const lines = text.split(/\r?\n/);
  const head = lines[0]?.slice(0, traceLimits.lineLength) ?? '';
  const form = [BITBRAINS, OURS].find((columns) => columns.every((one) => head.includes(one)));
  if (form === undefined)
    throw bad(1, `its columns are not those of a known form (${OURS.join(',')})`);
  const remarks: string[] = [];
  const samples = form === BITBRAINS ? bitbrains(rowsOf(lines, ';', BITBRAINS)) : ours(lines);
  if (form === BITBRAINS)
    remarks.push(
      'a trace of one machine: its first half is the user side, its second half the system side',
    );
  const length = samples.times.at(-1) ?? 0;
  const speed = Math.max(1, length / traceLimits.seconds);
  if (speed > 1) remarks.push(`${Math.round(speed)} times as fast as it was recorded`);
  const seconds = (of: (side: Side) => readonly number[]): Record<Side, Float64Array> => ({
    user: everySecond(samples.times, of('user'), speed),
    system: everySecond(samples.times, of('system'), speed),
  });
  const wants = seconds((side) => wantsOf(samples, side));
  const held = seconds((side) => samples.held[side]);
  const peak = held.user.reduce(
    (most, bytes, second) => Math.max(most, bytes + (held.system[second] as number)),
    0,
  );
  const room = roomOf(samples);
  // No less than they had at once: the median may be of a time when others had more.
  const machine = totalBytes ?? Math.max(peak, room ?? 0, 1);
  if (totalBytes === undefined)
    remarks.push(
      `a machine of ${(machine / GiB).toFixed(2)} GiB: ${
        room === undefined
          ? 'what both sides use at most together, because the trace does not say what it had (--memory does)'
          : 'what was left to both sides when it was recorded'
      }`,
    );
  const scenario = scenarioOfSeries(name, machine, wants);
  const waited = samples.beside?.waited;
  // Faster than it was, nothing waits as it did.
  if (speed > 1 || !waited || sides.every((side) => waited[side].every(Number.isNaN)))
    return { scenario, remarks };
  return { scenario, recorded: { held, waited: seconds((side) => waited[side]) }, remarks };
}
