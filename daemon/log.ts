import { pino } from 'pino';
import { unsafeCharacters } from '../ipc/values.ts';
import type { Log } from './changes/log.ts';
import { Secret } from './config/secret.ts';

/** pino's level to the syslog priority journald reads from `<N>` at the start of a line. */
const priorities: Record<number, number> = { 10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2 };

/** Keys whose values never reach the log, whatever they hold. */
const hiddenKeys = new Set(['secret', 'token', 'ticket', 'password', 'passphrase', 'privateKey']);

/** How deep fields are walked: what lies deeper is not a field but data. */
const depthMax = 6;

function cleaned(value: unknown, depth: number): unknown {
  if (value instanceof Secret) return '[secret]';
  if (value instanceof Error) return errorFields(value, depth);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return value;
  if (depth >= depthMax) return '[deep]';
  if (Array.isArray(value)) return value.map((item) => cleaned(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      hiddenKeys.has(key) ? '[hidden]' : cleaned(item, depth + 1),
    ]),
  );
}

/** An error with its whole chain of causes; the stack of the outermost only. */
function errorFields(error: Error, depth: number): Record<string, unknown> {
  const { message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  return {
    message,
    ...(code === undefined ? {} : { code: String(code) }),
    ...(depth <= 1 && stack !== undefined ? { stack } : {}),
    ...(cause === undefined || depth >= depthMax ? {} : { cause: cleaned(cause, depth + 1) }),
  };
}

// Nearly every line is this: only the rest is looked at closely.
const plain = /^[\x20-\x7e]*\n$/;

/**
 * A line of JSON in which nothing moves a terminal's cursor or reorders its text (JSON itself leaves such characters
 * as they are): they are written as \uNNNN, which means the same to programs.
 */
function escaped(line: string): string {
  if (plain.test(line)) return line;
  const text = line
    .trimEnd()
    .replace(unsafeCharacters(), (char) =>
      Array.from(
        { length: char.length },
        (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`,
      ).join(''),
    );
  return `${text}\n`;
}

/** Where lines go; the default is file descriptor 1, written at once so that no line is lost. */
export interface LogTarget {
  level: string;
  /** Prefix each line with its priority, as journald wants it; else lines carry the time. */
  journald: boolean;
  write?(line: string): void;
}

/** The daemon's log. */
export function openLog({ level, journald, write }: LogTarget): Log {
  const out = write ?? writerOf(pino.destination({ dest: 1, sync: true }));
  const metadata = Symbol.for('pino.metadata');
  const stream = {
    [metadata]: true,
    lastLevel: 30,
    write(line: string) {
      const safe = escaped(line);
      out(journald ? `<${priorities[this.lastLevel] ?? 6}>${safe}` : safe);
    },
  };
  const logger = pino(
    {
      level,
      base: null,
      timestamp: journald ? false : pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Fields are cleaned before: the library's own form of an error would lose the code of a cause.
      serializers: { err: (value: unknown) => value },
    },
    stream,
  );
  const line = (name: 'debug' | 'info' | 'warn' | 'error') => (fields: object, message: string) => {
    if (logger.isLevelEnabled(name)) logger[name](cleaned(fields, 0) as object, message);
  };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

function writerOf(destination: { write(line: string): unknown }): (line: string) => void {
  return (line) => {
    destination.write(line);
  };
}
