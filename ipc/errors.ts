import { type ErrorRow, errorTable, exitStatus } from './error-table.ts';

export { type ErrorRow, errorTable, exitStatus };

/** A code of the error table. */
export type ErrorCode = keyof typeof errorTable;

/** Facts of one error: they fill the placeholders and stay readable for programs. */
export type ErrorDetail = Record<string, unknown>;

/** An error as it travels: never a stack, never a cause. */
export interface WireError {
  code: string;
  message: string;
  hint: string;
  exit: number;
  detail?: ErrorDetail | undefined;
}

/** Fills `{name}` from the detail; what is missing reads as "?". */
function fill(form: string, detail: ErrorDetail): string {
  return form.replace(/\{(\w+)\}/g, (_, name: string) => String(detail[name] ?? '?'));
}

/**
 * The error that every part of the project throws. `detail` is a record that fills the message form,
 * or a sentence (taken as its `reason`). A reason that the form does not mention is appended.
 */
export class PersonaError extends Error {
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;
  hint: string;
  exit: number;

  constructor(code: ErrorCode, detail: ErrorDetail | string = {}, options?: ErrorOptions) {
    const facts = typeof detail === 'string' ? { reason: detail } : detail;
    const { message, hint, exit }: ErrorRow = errorTable[code];
    const known = message.includes('{reason}') || facts.reason === undefined;
    super(fill(message, facts) + (known ? '' : `: ${String(facts.reason)}`), options);
    this.name = 'PersonaError';
    this.code = code;
    this.detail = facts;
    this.hint = fill(hint, facts);
    this.exit = exit;
  }
}

/** The wire form of any thrown value. What is not a PersonaError becomes `internal`, without its stack. */
export function toWire(error: unknown): WireError {
  const known =
    error instanceof PersonaError
      ? error
      : new PersonaError('internal', error instanceof Error ? error.message : String(error));
  const { code, message, hint, exit, detail } = known;
  return { code, message, hint, exit, detail };
}

/** The error of a wire form. Unknown codes (a newer daemon) keep their words and exit status. */
export function fromWire(wire: WireError): PersonaError {
  const code: ErrorCode = Object.hasOwn(errorTable, wire.code)
    ? (wire.code as ErrorCode)
    : 'internal';
  const error = new PersonaError(code, wire.detail ?? {});
  error.message = wire.message;
  error.hint = wire.hint;
  error.exit = wire.exit;
  return error;
}

/** True for an error with exactly this code. */
export function isCode(error: unknown, code: ErrorCode): error is PersonaError {
  return error instanceof PersonaError && error.code === code;
}
