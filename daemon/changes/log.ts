/** One severity of the log: fields for programs, a sentence for people. */
export type LogLine = (fields: Record<string, unknown>, message: string) => void;

/** The log as rooms and engine see it: passed in, never imported. */
export interface Log {
  debug: LogLine;
  info: LogLine;
  warn: LogLine;
  error: LogLine;
}

/** A log that keeps nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
