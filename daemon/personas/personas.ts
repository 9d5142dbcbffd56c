import type { Json } from '../changes/task.ts';
import { type PersonaPage, personaPage } from './persona-page.ts';
import { slotsByPersona } from './persona-use.ts';
import type { PersonasRoom } from './room.ts';

export { listKeys, planRevoke, planTrust } from './keys.ts';
export { planCreate } from './persona-create.ts';
export { diffPersonas } from './persona-diff.ts';
export { exportPersona } from './persona-export.ts';
export { planImport } from './persona-import.ts';
export { planRemove } from './persona-rm.ts';
export { planVerify } from './persona-verify.ts';

/** All personas, by name, as `viewer` (a uid) may see them. */
export async function listPersonas(room: PersonasRoom, viewer: number): Promise<PersonaPage[]> {
  const slots = await slotsByPersona(room.store, viewer);
  return room.book
    .personas()
    .map((persona) => personaPage(room.book, persona, slots.get(persona.digest) ?? []));
}

/** One persona by name or digest, as `viewer` (a uid) may see it. Throws persona-not-found. */
export async function showPersona(
  room: PersonasRoom,
  reference: string,
  viewer: number,
): Promise<PersonaPage> {
  const persona = room.book.persona(reference);
  const slots = (await slotsByPersona(room.store, viewer)).get(persona.digest) ?? [];
  return personaPage(room.book, persona, slots);
}

/** What a create or an import hands over in the end. */
export interface Imported {
  name: string;
  /** It was here before. */
  existed: boolean;
  rebuilt: boolean;
}

/** The answer of an import, from what its change gave, as `viewer` (a uid) may see it. Throws persona-not-found. */
export async function importedPersona(
  room: PersonasRoom,
  given: Json | undefined,
  viewer: number,
): Promise<Omit<Imported, 'name'> & { persona: PersonaPage }> {
  const { name, existed, rebuilt } = given as unknown as Imported;
  return { persona: await showPersona(room, name, viewer), existed, rebuilt };
}

/** Who owns a persona: the uid that brought it; undefined when there is none of that name or digest. */
export function ownerOfPersona({ book }: PersonasRoom, reference: string): number | undefined {
  return book.find(reference)?.owner;
}
