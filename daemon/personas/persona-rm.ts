import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import type { Persona } from './persona.ts';
import { slotsByPersona, usersInWords } from './persona-use.ts';
import type { PersonasRoom } from './room.ts';
import { isTrusted } from './trust.ts';

/** Kinds of the steps. */
export const removeKinds = {
  forget: 'personas.forget',
  removeFiles: 'personas.remove-files',
} as const;

/**
 * Throws in-use when a slot needs the persona and no other name stands for it: one that is not trusted does not for one that is.
 * `viewer` (a uid) is told what it may see.
 */
export async function checkUnused(
  room: PersonasRoom,
  persona: Persona,
  viewer: number,
): Promise<void> {
  const twin = room.book
    .personas()
    .filter(({ name, digest }) => digest === persona.digest && name !== persona.name)
    .some((other) => isTrusted(room.book, other) || !isTrusted(room.book, persona));
  const slots = async (uid: number): Promise<string[]> =>
    (await slotsByPersona(room.store, uid)).get(persona.digest) ?? [];
  const all = await slots(0);
  if (all.length === 0 || twin) return;
  const known = (await slots(viewer)).map((name) => `slot ${name}`);
  const by = usersInWords(known, all.length - known.length);
  throw new PersonaError('in-use', { what: `persona ${persona.name}`, by });
}

/** The change that removes a persona with the files only it needs. Throws persona-not-found or in-use. */
export async function planRemove(
  room: PersonasRoom,
  reference: string,
  ownerUid: number,
): Promise<Plan> {
  const persona = room.book.persona(reference);
  await checkUnused(room, persona, ownerUid);
  const { name, digest, importedMs } = persona;
  const layers = persona.layers
    .filter(({ kind }) => kind === 'seed' || kind === 'config')
    .map((layer) => ({ digest: layer.digest, bytes: layer.bytes }));
  const bytes = persona.bytes + (persona.originBytes ?? 0);
  return {
    kind: 'persona.rm',
    summary: `Remove persona ${name}`,
    ownerUid,
    holds: [`persona:${name}`, `persona:${digest}`, 'shared:removal:all'],
    tasks: [
      { kind: removeKinds.forget, params: { name, digest, importedMs, layers } },
      { kind: removeKinds.removeFiles, params: { name, digest, layers, bytes } },
    ],
    needs: { rescue: true },
  };
}
