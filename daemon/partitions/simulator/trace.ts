import { PersonaError } from '../../../ipc/errors.ts';
import type { Side } from '../observation.ts';
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

/** Samples of a trace: when, and what each side used. */
interface Samples {
  times: number[];
  user: number[];
  system: number[];
}

/** A trace as a scenario, and what was done to make it one. */
export interface ReadTrace {
  scenario: Scenario;
  remarks: string[];
}

const bad = (line: number, reason: string): PersonaError =>
  new PersonaError('bad-value', { name: 'TRACE', reason: `line ${line}: ${reason}` });

/** The columns that are looked for in the first line of each known form. */
const BITBRAINS = ['Timestamp [ms]', 'Memory usage [KB]'] as const;
const OURS = ['seconds', 'user_bytes', 'system_bytes'] as const;

const cellsOf = (line: string, separator: string): string[] =>
  line.split(separator).map((cell) => cell.trim());

function numberOf(cell: string | undefined, line: number, most: number): number {
  const value = /^\d{1,18}(\.\d{1,18})?$/.test(cell ?? '') ? Number(cell) : Number.NaN;
  if (!(value <= most)) throw bad(line, 'a value is not a number that memory or time can have');
  return value;
}

/** Rows of the columns with these names. Lines that hold nothing are passed over. */
function rowsOf(lines: readonly string[], separator: string, names: readonly string[]): number[][] {
  const head = cellsOf(lines[0] ?? '', separator);
  const at = names.map((name) => head.indexOf(name));
  const rows: number[][] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === '') continue;
    if (line.length > traceLimits.lineLength) throw bad(index + 1, 'it is too long');
    if (rows.length >= traceLimits.rows) throw bad(index + 1, `more than ${traceLimits.rows} rows`);
    const cells = cellsOf(line, separator);
    rows.push(at.map((column) => numberOf(cells[column], index + 1, traceLimits.memoryBytes)));
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
  return { times, user: of(0), system: of(half) };
}

function ours(rows: readonly number[][]): Samples {
  const start = rows[0]?.[0] ?? 0;
  return {
    times: rows.map((row) => (row[0] ?? 0) - start),
    user: rows.map((row) => row[1] ?? 0),
    system: rows.map((row) => row[2] ?? 0),
  };
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
 * A CSV trace as a scenario: ours (`seconds,user_bytes,system_bytes`), or one of the Bitbrains form (GWA-T-12,
 * semicolons). Without `totalBytes` the machine is as large as the two sides' greatest common use. Throws `bad-value`
 * with the line.
 */
export function readTrace(name: string, text: string, totalBytes?: number): ReadTrace {
  const lines = text.split(/\r?\n/);
  const head = lines[0]?.slice(0, traceLimits.lineLength) ?? '';
  const form = [BITBRAINS, OURS].find((columns) => columns.every((one) => head.includes(one)));
  if (form === undefined)
    throw bad(1, `its columns are not those of a known form (${OURS.join(',')})`);
  const remarks: string[] = [];
  const samples =
    form === BITBRAINS ? bitbrains(rowsOf(lines, ';', BITBRAINS)) : ours(rowsOf(lines, ',', OURS));
  if (form === BITBRAINS)
    remarks.push(
      'a trace of one machine: its first half is the user side, its second half the system side',
    );
  const length = samples.times.at(-1) ?? 0;
  const speed = Math.max(1, length / traceLimits.seconds);
  if (speed > 1) remarks.push(`${Math.round(speed)} times as fast as it was recorded`);
  const wants: Record<Side, Float64Array> = {
    user: everySecond(samples.times, samples.user, speed),
    system: everySecond(samples.times, samples.system, speed),
  };
  const peak = wants.user.reduce(
    (most, bytes, second) => Math.max(most, bytes + (wants.system[second] as number)),
    0,
  );
  if (totalBytes === undefined)
    remarks.push(
      `a machine of ${(peak / GiB).toFixed(2)} GiB: what both sides use at most together`,
    );
  const scenario = scenarioOfSeries(name, totalBytes ?? Math.max(peak, 1), wants);
  return { scenario, remarks };
}
