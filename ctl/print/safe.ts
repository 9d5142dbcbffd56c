import { escapeText } from '../../ipc/values.ts';
import { columnsOf, isPlain } from './width.ts';

/**
 * Text that may be written to a terminal: whatever came from elsewhere in it is escaped. Printers take
 * only this, so that nothing foreign reaches a terminal raw.
 */
export interface Safe {
  readonly safe: string;
  /** Columns that it takes on a terminal. */
  readonly width: number;
}

/** What may stand in a line: strings and numbers are foreign and are escaped. */
export type Piece = string | number | Safe;

/** A piece as safe text. */
export function safe(piece: Piece): Safe {
  if (typeof piece === 'object') return piece;
  const raw = String(piece);
  if (isPlain(raw)) return { safe: raw, width: raw.length };
  const text = escapeText(raw);
  return { safe: text, width: columnsOf(text) };
}

/** The words of this program themselves, with escaped values in between. */
export function say(words: TemplateStringsArray, ...values: Piece[]): Safe {
  let text = words[0] ?? '';
  let width = columnsOf(text);
  for (const [index, value] of values.entries()) {
    const piece = safe(value);
    const word = words[index + 1] ?? '';
    text += piece.safe + word;
    width += piece.width + columnsOf(word);
  }
  return { safe: text, width };
}

/** Pieces one after the other, with a separator of our own between them. */
export function joined(pieces: readonly Piece[], separator: string): Safe {
  const parts = pieces.map(safe);
  const width = parts.reduce((sum, part) => sum + part.width, 0);
  const between = columnsOf(separator) * Math.max(0, parts.length - 1);
  return { safe: parts.map((part) => part.safe).join(separator), width: width + between };
}

/** `piece` with spaces up to `width` columns. */
export function padded(piece: Piece, width: number, side: 'left' | 'right' = 'left'): Safe {
  const part = safe(piece);
  const spaces = ' '.repeat(Math.max(0, width - part.width));
  const text = side === 'left' ? part.safe + spaces : spaces + part.safe;
  return { safe: text, width: part.width + spaces.length };
}

/** `text` cut to `width` columns with an ellipsis. */
export function cut(text: string, width: number, ellipsis = '...'): Safe {
  const whole = safe(text);
  if (whole.width <= width) return whole;
  let kept = '';
  let columns = ellipsis.length;
  for (const char of whole.safe) {
    columns += columnsOf(char);
    if (columns > width) break;
    kept += char;
  }
  return { safe: kept + ellipsis, width: columnsOf(kept) + ellipsis.length };
}
