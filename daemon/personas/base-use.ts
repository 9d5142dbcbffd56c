import type { Store } from '../store/store.ts';
import { neededGenerations } from './generation-use.ts';

/** Who needs a base. */
export interface BaseUse {
  personas: string[];
  slots: string[];
}

/**
 * The personas made for a base, and the slots that need it: by what is active, by what someone still holds, and by
 * what a rollback would go back to. By digest of the base.
 * @param viewer uid of who is told: root of all slots, others of their own.
 */
export async function usesOfBases(store: Store, viewer: number): Promise<Map<string, BaseUse>> {
  const uses = new Map<string, BaseUse>();
  const of = (digest: unknown): BaseUse => {
    const use = uses.get(String(digest)) ?? { personas: [], slots: [] };
    uses.set(String(digest), use);
    return use;
  };
  const personas = await store.all(
    'SELECT name, base_digest AS digest FROM personas ORDER BY name',
  );
  for (const { name, digest } of personas) of(digest).personas.push(String(name));
  const slots = await store.all(
    `SELECT DISTINCT g.base_digest AS digest, g.slot AS slot
       FROM generations g JOIN slots s ON s.name = g.slot
      WHERE g.base_digest IS NOT NULL AND (${neededGenerations})
        AND ? IN (0, s.owner)
      ORDER BY g.slot`,
    viewer,
  );
  for (const { slot, digest } of slots) of(digest).slots.push(String(slot));
  return uses;
}
