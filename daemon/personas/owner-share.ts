import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import { type Base, readBases } from './bases.ts';
import type { Persona } from './persona.ts';
import type { Coming, OwnerShare, PersonasRoom } from './room.ts';

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

type ShareRoom = Pick<PersonasRoom, 'store' | 'book' | 'share' | 'coming'>;

/** What is in the store and what other changes are about to commit; by name, for what was just committed is still among those. */
function everyOne({ book, coming }: ShareRoom, bases: Base[], changeId?: number): Coming[] {
  const others = [...coming].filter(([id]) => id !== changeId).map(([, one]) => one);
  const stored = [...book.personas(), ...bases].map((one): Coming => {
    const { name, owner } = one;
    return { kind: 'layers' in one ? 'persona' : 'base', name, owner, bytes: bytesOf(one) };
  });
  const all = [...others, ...stored];
  return [...new Map(all.map((one) => [`${one.kind} ${one.name}`, one])).values()];
}

function refuseOver(share: OwnerShare, owner: number, bytes: number, all: Coming[]): void {
  if (owner === 0) return;
  const account = share.accountOf(owner);
  // Root may have subordinate ids, too: their users have a share, and what is root's own is no part of it.
  const theirs = all.filter((one) => one.owner !== 0 && share.accountOf(one.owner) === account);
  if (theirs.length >= share.count)
    throw over('the number of your bases and personas', share.count);
  const total = theirs.reduce((sum, one) => sum + one.bytes, bytes);
  if (total > share.bytes)
    throw over('the size of your bases and personas together', formatSize(share.bytes));
}

/**
 * Throws limit-exceeded when one more base or persona of `bytes` would be more than the account of this uid may have. Asked when a
 * change is planned, as far as the size is known, and when it is. What several names share counts for each of them. Root is free.
 */
export async function checkShare(room: ShareRoom, owner: number, bytes: number): Promise<void> {
  const bases = await readBases(room.store);
  refuseOver(room.share, owner, bytes, everyOne(room, bases));
}

/** The same right before a change commits `one`, which counts from here on for all others: until `leaveShare`. */
export async function enterShare(room: ShareRoom, changeId: number, one: Coming): Promise<void> {
  const bases = await readBases(room.store);
  // Nothing waits between looking and entering.
  refuseOver(room.share, one.owner, one.bytes, everyOne(room, bases, changeId));
  room.coming.set(changeId, one);
}

/** What the change was about to commit stands, or never will. */
export function leaveShare({ coming }: ShareRoom, changeId: number): void {
  coming.delete(changeId);
}
