import { toWire } from '../../ipc/errors.ts';
import { type Io, isUnicode } from '../io.ts';
import { jsonText, jsonVersion } from './json.ts';
import { type Safe, say } from './safe.ts';
import { type Style, styleOf, wantsColors } from './style.ts';

/** How the caller wants to read. */
export interface OutputOptions {
  json: boolean;
  quiet: boolean;
  color: string | undefined;
}

/** Results go to stdout, everything else to stderr; as text or as JSON. */
export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Styles for stdout and for stderr. */
  readonly style: Style;
  readonly errStyle: Style;
  /** Bars and lines may use more than ASCII. */
  readonly unicode: boolean;
  readonly columns: number;
  /** Somebody looks at it in a window of that width. */
  readonly terminal: boolean;
  /** The result: one JSON object with its version, or lines of text. */
  result(value: object, lines: () => readonly Safe[]): void;
  /** The result of something that was done: text only without --quiet. */
  done(value: object, lines: () => readonly Safe[]): void;
  /** One JSON object per line, or lines of text: for what goes on. */
  stream(value: object, lines: () => readonly Safe[]): void;
  lines(lines: readonly Safe[]): void;
  /** A remark for people on stderr; not with --json or --quiet. */
  note(line: Safe): void;
  error(error: unknown): void;
}

/** The output of one call. */
export function createOutput(io: Io, { json, quiet, color }: OutputOptions): Output {
  const style = styleOf(!json && wantsColors(color, io.out.terminal, io.env));
  const errStyle = styleOf(!json && wantsColors(color, io.err.terminal, io.env));
  const lines = (all: readonly Safe[]) => {
    if (all.length > 0) io.out.write(`${all.map((line) => line.safe).join('\n')}\n`);
  };
  const result = (value: object, text: () => readonly Safe[]) => {
    if (json) io.out.write(`${jsonText({ apiVersion: jsonVersion, ...value })}\n`);
    else lines(text());
  };
  return {
    json,
    quiet,
    style,
    errStyle,
    unicode: isUnicode(io.env),
    columns: Math.min(io.out.columns(), 120),
    terminal: io.out.terminal,
    result,
    done(value, text) {
      if (json || !quiet) result(value, text);
    },
    stream(value, text) {
      if (json) io.out.write(`${jsonText({ apiVersion: jsonVersion, ...value }, 0)}\n`);
      else lines(text());
    },
    lines,
    note(line) {
      if (!json && !quiet) io.err.write(`${line.safe}\n`);
    },
    error(error) {
      const wire = toWire(error);
      if (json) io.err.write(`${jsonText({ apiVersion: jsonVersion, error: wire })}\n`);
      else io.err.write(errorLines(wire, errStyle));
    },
  };
}

function errorLines(wire: { message: string; hint: string }, style: Style): string {
  const first = say`${style.bold('personactl:')} ${style.red(wire.message)}`;
  return wire.hint === '' ? `${first.safe}\n` : `${first.safe}\n  ${say`${wire.hint}`.safe}\n`;
}
