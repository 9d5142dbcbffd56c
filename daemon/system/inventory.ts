import type { Inventory } from '../kernel/inventory.ts';

/** Hardware changes rarely, and asking starts programs: whoever asks sooner gets the same. */
const freshMs = 600_000;

/** What the machine is made of, and when that was seen. */
export type SeenInventory = Inventory & { readMs: number };

/** How the machine is asked. */
export interface InventoryParts {
  read(): Promise<Inventory>;
  now(): number;
}

/** The inventory on demand: asked once for all who want it meanwhile, and kept. A failure is not kept. */
export function inventoryOf({ read, now }: InventoryParts): () => Promise<SeenInventory> {
  let kept: { seen: Promise<SeenInventory>; atMs: number } | undefined;
  return () => {
    const atMs = now();
    if (kept === undefined || Math.abs(atMs - kept.atMs) > freshMs) {
      const mine = { seen: read().then((found) => ({ ...found, readMs: now() })), atMs };
      kept = mine;
      mine.seen.catch(() => {
        if (kept === mine) kept = undefined;
      });
    }
    return kept.seen;
  };
}
