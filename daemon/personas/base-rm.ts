import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import { isUnused, usesOfBases } from './base-use.ts';
import { type Base, readBase, readBases } from './bases.ts';
import type { PersonasRoom } from './room.ts';

/** Whether other bases are names of the same image. */
export async function hasOtherNames(
  { store }: Pick<PersonasRoom, 'store'>,
  { name, digest }: Pick<Base, 'name' | 'digest'>,
): Promise<boolean> {
  const bases = await readBases(store);
  return bases.some((other) => other.digest === digest && other.name !== name);
}

/**
 * Throws in-use when a persona or a slot needs the base's image and no other name would keep it. Asked when the
 * change is planned, and again at its commit.
 */
export async function checkUnused(room: PersonasRoom, base: Base): Promise<void> {
  const use = (await usesOfBases(room.store)).get(base.digest);
  if (isUnused(use) || (await hasOtherNames(room, base))) return;
  const users = [
    ...(use?.personas ?? []).map((name) => `persona ${name}`),
    ...(use?.slots ?? []).map((name) => `slot ${name}`),
  ];
  const shown = users.slice(0, 5).join(', ');
  const by = users.length > 5 ? `${shown} and ${users.length - 5} more` : shown;
  throw new PersonaError('in-use', { what: `base ${base.name}`, by });
}

/** The change that removes a base. Throws base-not-found or in-use. */
export async function planBaseRemoval(
  room: PersonasRoom,
  { base: reference }: { base: string },
  ownerUid: number,
): Promise<Plan> {
  const base = await readBase(room.store, reference);
  await checkUnused(room, base);
  const { name, digest, importedMs } = base;
  return {
    kind: 'base.rm',
    summary: `Remove base ${name}`,
    ownerUid,
    holds: [`base:${name}`, `base:${digest}`, 'shared:removal:all'],
    tasks: [
      { kind: 'bases.forget', params: { name, digest, importedMs } },
      { kind: 'bases.discard', params: { name, digest, bytes: base.bytes } },
    ],
    needs: { rescue: true },
  };
}
