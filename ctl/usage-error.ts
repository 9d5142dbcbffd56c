import { PersonaError } from '../ipc/errors.ts';

/** A wrong command line: exit status 2. `hint` says what was probably meant. */
export function usageError(reason: string, command: string, hint?: string): PersonaError {
  const error = new PersonaError('bad-usage', { reason, command });
  error.message = reason;
  error.hint = hint ?? (command === '' ? 'See `personactl help`.' : error.hint);
  return error;
}
