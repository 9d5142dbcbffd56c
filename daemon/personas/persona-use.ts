import type { Store } from '../store/store.ts';
import { neededGenerations } from './generation-use.ts';

/**
 * The slots that need a persona: it is active in them, something still holds its tree, or it is what a rollback
 * would go back to (the newest good generation before the active one). By digest of the persona.
 * @param viewer uid of who is told: root of all slots, others of their own.
 */
export async function slotsByPersona(store: Store, viewer: number): Promise<Map<string, string[]>> {
  const rows = await store.all(
    `SELECT DISTINCT g.persona_digest AS digest, g.slot AS slot
       FROM generations g JOIN slots s ON s.name = g.slot
      WHERE g.persona_digest IS NOT NULL AND (${neededGenerations})
        AND ? IN (0, s.owner)
      ORDER BY g.slot`,
    viewer,
  );
  const slots = new Map<string, string[]>();
  for (const { digest, slot } of rows) {
    const of = slots.get(String(digest));
    if (of === undefined) slots.set(String(digest), [String(slot)]);
    else of.push(String(slot));
  }
  return slots;
}

/** Users that an error names. */
const namedMax = 5;

/** Who uses something, in words: what one may know of by name, the rest (slots of other users are among them) by their number. */
export function usersInWords(known: readonly string[], unknown: number): string {
  const named = known.slice(0, namedMax);
  const more = known.length - named.length + unknown;
  if (named.length === 0) return more === 1 ? 'a slot of another user' : `${more} slots of others`;
  return more === 0 ? named.join(', ') : `${named.join(', ')} and ${more} more`;
}
