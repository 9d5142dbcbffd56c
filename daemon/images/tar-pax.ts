import { badArchive } from './tar-headers.ts';

/** One record of a pax header: key and value as byte strings. */
export type PaxRecord = readonly [key: string, value: string];

/** Records of one header; more is an attack. */
const paxRecordsMax = 200_000;

/**
 * Splits the body of a pax header into its records, in their order ("LENGTH KEY=VALUE\n").
 * @throws PersonaError 'bad-archive' when the lengths do not add up.
 */
export function parsePax(body: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 || space - at > 9 ? '' : body.toString('latin1', at, space);
    if (!/^[1-9][0-9]*$/.test(digits))
      throw badArchive('a pax header has a record without a length');
    const end = at + Number(digits);
    const equals = body.indexOf(0x3d, space);
    if (end > body.length || body[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw badArchive('a pax header has a record of a wrong length');
    }
    if (equals === space + 1) throw badArchive('a pax header has a record without a name');
    records.push([
      body.toString('latin1', space + 1, equals),
      body.toString('latin1', equals + 1, end - 1),
    ]);
    if (records.length > paxRecordsMax) throw badArchive('a pax header has too many records');
    at = end;
  }
  return records;
}

/**
 * A whole number of a pax record.
 * @throws PersonaError 'bad-archive' when it is none, negative, or too large to be exact.
 */
export function paxNumber(value: string, what: string): number {
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw badArchive(`a pax header has a wrong ${what}`);
  return number;
}

/**
 * A time of a pax record ("-1.25"), rounded down to nanoseconds.
 * @throws PersonaError 'bad-archive' when it is none.
 */
export function paxTime(value: string): { mtime: number; mtimeNs: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (match === null) throw badArchive('a pax header has a wrong time');
  const seconds = Number(match[2]);
  const digits = match[3] ?? '';
  const ns = Number(digits.slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { mtime: seconds, mtimeNs: ns };
  // Down means towards minus infinity, also for the digits that are cut off.
  const rest = ns + (/[1-9]/.test(digits.slice(9)) ? 1 : 0);
  return rest === 0
    ? { mtime: seconds === 0 ? 0 : -seconds, mtimeNs: 0 }
    : { mtime: -seconds - 1, mtimeNs: 1e9 - rest };
}

/** The body of a pax header for `records`. The length of a record counts its own digits. */
export function formatPax(records: readonly PaxRecord[]): Buffer {
  return Buffer.from(records.map(([key, value]) => formatPaxRecord(key, value)).join(''), 'latin1');
}

function formatPaxRecord(key: string, value: string): string {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}
