import type { Range } from '../kernel/file-blocks.ts';

/** The same pieces in order, those that touch or overlap joined. */
export function joined(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter(({ bytes }) => bytes > 0).sort((a, b) => a.at - b.at);
  const out: Range[] = [];
  for (const { at, bytes } of sorted) {
    const last = out.at(-1);
    if (last !== undefined && at <= last.at + last.bytes)
      last.bytes = Math.max(last.bytes, at + bytes - last.at);
    else out.push({ at, bytes });
  }
  return out;
}

/** What of a file of `length` bytes lies in none of the pieces. */
export function outside(ranges: readonly Range[], length: number): Range[] {
  const out: Range[] = [];
  let from = 0;
  for (const { at, bytes } of joined(ranges)) {
    if (at >= length) break;
    if (at > from) out.push({ at: from, bytes: at - from });
    from = Math.max(from, at + bytes);
  }
  if (from < length) out.push({ at: from, bytes: length - from });
  return out;
}

/** Bytes of the pieces in all; none of them may overlap. */
export function total(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { bytes }) => sum + bytes, 0);
}
