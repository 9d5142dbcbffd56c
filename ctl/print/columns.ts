import { joined, type Piece, padded, type Safe, safe } from './safe.ts';
import type { Style } from './style.ts';

/** One column of a table. */
export interface Column {
  title: string;
  side?: 'left' | 'right';
}

const gap = '  ';

/**
 * Rows as aligned columns with a title line. A column that is empty in every row is left out. Cells are
 * escaped here unless they are safe already.
 */
export function columns(
  titles: readonly Column[],
  rows: readonly (readonly Piece[])[],
  style: Style,
): Safe[] {
  const cells = rows.map((row) => titles.map((_, index) => safe(row[index] ?? '')));
  const shown = titles
    .map((column, index) => ({ ...column, index }))
    .filter(({ index }) => cells.some((row) => (row[index]?.width ?? 0) > 0));
  const widths = new Map(
    shown.map(({ index, title }) => [
      index,
      Math.max(title.length, ...cells.map((row) => row[index]?.width ?? 0)),
    ]),
  );
  const line = (pieces: readonly Piece[]): Safe => trimmed(joined(pieces, gap));
  const head = shown.map(({ index, title, side }) =>
    padded(style.dim(title), widths.get(index) ?? 0, side),
  );
  const body = cells.map((row) =>
    line(shown.map(({ index, side }) => padded(row[index] ?? '', widths.get(index) ?? 0, side))),
  );
  return [line(head), ...body];
}

/** Lines of a page: names on the left, what they are on the right. Absent values are left out. */
export function facts(
  pairs: readonly (readonly [name: string, value: Piece | undefined])[],
  style: Style,
): Safe[] {
  const known = pairs.filter((pair): pair is readonly [string, Piece] => pair[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => name.length));
  return known.map(([name, value]) =>
    trimmed(joined([padded(style.dim(name), width), safe(value)], gap)),
  );
}

/** Lines moved to the right. */
export function indented(lines: readonly Safe[], by = 2): Safe[] {
  const spaces = ' '.repeat(by);
  return lines.map((line) =>
    line.safe === '' ? line : { safe: spaces + line.safe, width: line.width + by },
  );
}

/** Without spaces at its end; styled text never ends in them. */
function trimmed(line: Safe): Safe {
  const text = line.safe.trimEnd();
  return { safe: text, width: line.width - (line.safe.length - text.length) };
}
