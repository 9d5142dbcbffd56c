import { type Piece, type Safe, safe } from './safe.ts';

/** A way to write text. */
type Paint = (piece: Piece) => Safe;

/** The few styles of the tool; without colours each leaves the text as it is. */
export interface Style {
  readonly colors: boolean;
  bold: Paint;
  dim: Paint;
  red: Paint;
  green: Paint;
  yellow: Paint;
  blue: Paint;
  cyan: Paint;
}

const paint =
  (on: number, off: number): Paint =>
  (piece) => {
    const { safe: text, width } = safe(piece);
    return { safe: text === '' ? '' : `\x1b[${on}m${text}\x1b[${off}m`, width };
  };

const colored: Style = {
  colors: true,
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
  blue: paint(34, 39),
  cyan: paint(36, 39),
};

const uncolored: Style = {
  colors: false,
  bold: safe,
  dim: safe,
  red: safe,
  green: safe,
  yellow: safe,
  blue: safe,
  cyan: safe,
};

/** The styles with or without colours. */
export function styleOf(colors: boolean): Style {
  return colors ? colored : uncolored;
}

/**
 * Whether to colour one stream: `--color` decides first, then NO_COLOR and FORCE_COLOR (set and not
 * empty), then TERM, then whether the stream is a terminal.
 */
export function wantsColors(
  when: string | undefined,
  terminal: boolean,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  if (when === 'always') return true;
  if (when === 'never') return false;
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return terminal && env.TERM !== 'dumb';
}
