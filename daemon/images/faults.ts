import { PersonaError } from '../../ipc/errors.ts';

/** What a reader throws for a damaged or hostile image: `reason` says where and what. */
export function badImage(reason: string): PersonaError {
  return new PersonaError('bad-image', { reason });
}

/** What a reader throws when `what` of its input is over a named limit. */
export function overLimit(what: string, limit: number | string): PersonaError {
  return new PersonaError('limit-exceeded', { what, limit });
}
