import { costOf } from '../kernel/disk-sharing.ts';

/** A knob's file, and the device where the file has a line for each. */
export interface KnobName {
  knob: string;
  /** `MAJOR:MINOR`. */
  device?: string;
}

/** Version 1 has no word for "no limit": it reads as the largest number of pages. */
const unlimited1 = 9_223_372_036_854_771_712n;
const pageBytes = 4096n;

/** A memory knob's value as a number; no limit is larger than all. */
function bytesOf(value: string): bigint | undefined {
  if (value === 'max' || value === '-1') return unlimited1;
  return /^\d{1,20}$/.test(value) ? BigInt(value) : undefined;
}

/** Two values of a knob mean the same: limits of memory are rounded to pages, and no limit has several names. Pure. */
export function sameValue(one: string, other: string, { knob }: KnobName): boolean {
  if (one === other) return true;
  if (!knob.startsWith('memory.')) return false;
  const [a, b] = [bytesOf(one), bytesOf(other)];
  if (a === undefined || b === undefined) return false;
  return a / pageBytes === b / pageBytes;
}

/** What a knob's file says, without what it says of others. Undefined when it says nothing of this knob. Pure. */
export function valueIn(text: string, { knob, device }: KnobName): string | undefined {
  if (knob === 'io.weight' || knob === 'io.bfq.weight')
    return /^(?:default )?(\d{1,5})$/m.exec(text)?.[1];
  return knob === 'io.cost.qos' && device !== undefined ? costOf(text, device) : text;
}

/** What is written to a knob's file for a value. Pure. */
export function textFor(value: string, { knob, device }: KnobName): string {
  return knob === 'io.cost.qos' ? `${device} ${value}` : value;
}

/** What the kernel says of a knob that a value was written to. Pure. */
export function saidBy(value: string, { knob }: KnobName): string {
  const bytes = knob.startsWith('memory.') ? bytesOf(value) : undefined;
  if (bytes === undefined || value === 'max') return value;
  return String((bytes / pageBytes) * pageBytes);
}
