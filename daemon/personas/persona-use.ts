import type { Store } from '../store/store.ts';
import { neededGenerations } from './generation-use.ts';

/**
 * The slots that need a persona: it is active in them, something still holds its tree, or it is what a rollback
 * would go back to (the newest good generation before the active one). By digest of the persona.
 */
export async function slotsByPersona(store: Store): Promise<Map<string, string[]>> {
  const rows = await store.all(
    `SELECT DISTINCT g.persona_digest AS digest, g.slot AS slot
       FROM generations g JOIN slots s ON s.name = g.slot
      WHERE g.persona_digest IS NOT NULL AND (${neededGenerations})
      ORDER BY g.slot`,
  );
  const slots = new Map<string, string[]>();
  for (const { digest, slot } of rows) {
    const of = slots.get(String(digest));
    if (of === undefined) slots.set(String(digest), [String(slot)]);
    else of.push(String(slot));
  }
  return slots;
}
