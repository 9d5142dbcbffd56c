import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import { usesOfBases } from './base-use.ts';
import { type Base, readBase, readBases } from './bases.ts';
import { usersInWords } from './persona-use.ts';
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
 * change is planned, and again at its commit. `viewer` (a uid) is told what it may see.
 */
export async function checkUnused(room: PersonasRoom, base: Base, viewer: number): Promise<void> {
  const users = async (uid: number): Promise<string[]> => {
    const use = (await usesOfBases(room.store, uid)).get(base.digest);
    return [
      ...(use?.personas ?? []).map((name) => `persona ${name}`),
      ...(use?.slots ?? []).map((name) => `slot ${name}`),
    ];
  };
  const all = await users(0);
  if (all.length === 0 || (await hasOtherNames(room, base))) return;
  const known = await users(viewer);
  const by = usersInWords(known, all.length - known.length);
  throw new PersonaError('in-use', { what: `base ${base.name}`, by });
}

/** The change that removes a base. Throws base-not-found or in-use. */
export async function planBaseRemoval(
  room: PersonasRoom,
  { base: reference }: { base: string },
  ownerUid: number,
): Promise<Plan> {
  const base = await readBase(room.store, reference);
  await checkUnused(room, base, ownerUid);
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
