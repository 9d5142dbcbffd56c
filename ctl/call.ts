import { type Client, connect, socketPaths } from '../ipc/client.ts';
import { checkName, isDigest } from '../ipc/values.ts';
import type { Command } from './command.ts';
import { patient } from './deadline.ts';
import type { Io } from './io.ts';
import type { Parsed } from './parse.ts';
import type { Output } from './print/output.ts';
import { usageError } from './usage-error.ts';

/** One call of one command: what was asked for, and the ways to answer. */
export interface Call {
  readonly command: Command;
  readonly io: Io;
  readonly out: Output;
  /** The words after the command that are passed on. */
  readonly rest: readonly string[];
  /** An operand that is not optional. */
  operand(name: string): string;
  /** An operand that names something new or a slot. Throws `bad-name`. */
  name(operand: string): string;
  /** An operand that is a name or a digest. Throws `bad-name`. */
  reference(operand: string): string;
  /** An operand that may be left out. */
  given(name: string): string | undefined;
  /** True when a switch is on. */
  has(flag: string): boolean;
  /** The value of an option. */
  text(flag: string): string | undefined;
  /** The values of an option that may be given several times. */
  list(flag: string): readonly string[];
  /** The value of an option as a whole number. Throws `bad-usage`. */
  number(flag: string, least?: number): number | undefined;
  /** The connection to the daemon, made on first use. Throws `daemon-not-running`. */
  client(): Promise<Client>;
  close(): void;
}

/** The run folder of the daemon: that of the machine, or of the private tree in PERSONA_ROOT. */
export function runFolder(env: Io['env']): string {
  return env.PERSONA_ROOT ? `${env.PERSONA_ROOT}/run` : '/run/persona';
}

/** A whole number in a word of the command line. Throws `bad-usage`. */
export function wholeNumber(text: string, what: string, command: string, least = 0): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least)) {
    const bound = least > 0 ? ` from ${least}` : '';
    throw usageError(`${what} has to be a whole number${bound}, not "${text}"`, command);
  }
  return value;
}

/** The call of a parsed line. */
export function createCall(parsed: Parsed, io: Io, out: Output): Call {
  const { command, operands, flags, rest } = parsed;
  let connection: Promise<Client> | undefined;
  const text = (flag: string) => {
    const value = flags[flag];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    command,
    io,
    out,
    rest,
    operand: (name) => operands[name] ?? '',
    name: (operand) => checkName(operands[operand] ?? ''),
    reference(operand) {
      const value = operands[operand] ?? '';
      return isDigest(value) ? value : checkName(value);
    },
    given: (name) => operands[name],
    has: (flag) => flags[flag] === true,
    text,
    list(flag) {
      const value = flags[flag];
      return Array.isArray(value) ? value : [];
    },
    number(flag, least = 1) {
      const value = text(flag);
      if (value === undefined) return undefined;
      return wholeNumber(value, `--${flag}`, command.name, least);
    },
    client() {
      connection ??= connect(socketPaths(runFolder(io.env))).then(patient);
      return connection;
    },
    close() {
      connection?.then(
        (client) => client.close(),
        () => {},
      );
    },
  };
}
