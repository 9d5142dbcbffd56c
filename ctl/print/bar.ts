import { formatSize } from '../../ipc/values.ts';
import type { Safe } from './safe.ts';

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `width` columns, filled to `share` (0 to 1). Plain characters where Unicode is not wanted. */
export function bar(share: number, width: number, unicode: boolean): Safe {
  const filled = Math.min(1, Math.max(0, share || 0)) * width;
  if (!unicode) {
    const hashes = Math.round(filled);
    return { safe: `[${'#'.repeat(hashes)}${'-'.repeat(width - hashes)}]`, width: width + 2 };
  }
  const whole = Math.floor(filled);
  const rest = eighths[Math.floor((filled - whole) * 8)] ?? '';
  const text = '█'.repeat(whole) + rest;
  const taken = whole + (rest === '' ? 0 : 1);
  return { safe: text + '░'.repeat(width - taken), width };
}

/** "68 %"; never 100 before the end. */
export function percent(share: number): string {
  const value = Math.min(1, Math.max(0, share || 0)) * 100;
  return `${value >= 100 ? 100 : Math.min(99, Math.round(value))} %`;
}

/** "1.2 GiB of 2.7 GiB", "12 of 40 entries", "12 entries". */
export function amount(
  done: number,
  total: number | undefined,
  unit: 'bytes' | 'entries' | 'steps' | undefined,
): string {
  const one = (value: number) => (unit === 'bytes' ? formatSize(value) : String(Math.round(value)));
  const name = unit === 'entries' ? ' entries' : unit === 'steps' ? ' steps' : '';
  return `${one(done)}${total === undefined ? '' : ` of ${one(total)}`}${name}`;
}
