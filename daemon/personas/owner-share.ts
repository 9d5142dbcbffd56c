import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import { type Base, readBases } from './bases.ts';
import type { Persona } from './persona.ts';
import type { PersonasRoom } from './room.ts';

const bytesOf = (one: Base | Persona): number =>
  'layers' in one
    ? one.layers
        .filter(({ kind }) => kind === 'seed' || kind === 'config')
        .reduce((sum, { bytes }) => sum + bytes, one.bytes + (one.originBytes ?? 0))
    : one.bytes;

function over(what: string, limit: number | string): PersonaError {
  const error = new PersonaError('limit-exceeded', { what, limit });
  error.hint = 'Remove what you do not need: `personactl persona rm`, `personactl base rm`.';
  return error;
}

/**
 * Throws limit-exceeded when one more base or persona of `bytes` would be more than the account of this uid may have. Asked when a
 * change is planned, as far as the size is known, and when it is. What several names share counts for each of them. Root is free.
 */
export async function checkShare(
  { store, book, share }: Pick<PersonasRoom, 'store' | 'book' | 'share'>,
  owner: number,
  bytes: number,
): Promise<void> {
  const account = share.accountOf(owner);
  if (account === 0) return;
  const all = [...book.personas(), ...(await readBases(store))];
  const theirs = all.filter((one) => share.accountOf(one.owner) === account);
  if (theirs.length >= share.count)
    throw over('the number of your bases and personas', share.count);
  const total = theirs.reduce((sum, one) => sum + bytesOf(one), bytes);
  if (total > share.bytes)
    throw over('the size of your bases and personas together', formatSize(share.bytes));
}
