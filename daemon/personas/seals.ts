import { sealFile } from '../kernel/verity.ts';
import type { Store } from '../store/store.ts';
import { layerFile } from './layer.ts';
import { personaFile } from './persona-files.ts';
import type { PersonasRoom } from './room.ts';

/** The seals that the rows tell of: path in the state tree -> what the kernel measures. */
export async function readSeals(store: Store): Promise<Map<string, string>> {
  const read = (table: 'layers' | 'personas') =>
    store.all(`SELECT digest, detail ->> '$.verity' AS seal FROM ${table}
                WHERE detail ->> '$.verity' IS NOT NULL`);
  const layers = await read('layers');
  const personas = await read('personas');
  return new Map([
    ...layers.map((row) => [layerFile(String(row.digest)), String(row.seal)] as const),
    ...personas.map((row) => [personaFile(String(row.digest)), String(row.seal)] as const),
  ]);
}

/**
 * Seals a complete file that was hashed, where this machine can, and remembers what the kernel measures of it (SECURITY 10).
 * `path` is where it lies now, `file` where it belongs in the state tree. Safe to repeat.
 */
export async function sealImage(
  { seals }: Pick<PersonasRoom, 'seals'>,
  path: string,
  file: string,
): Promise<{ verity?: string }> {
  const verity = await sealFile(path);
  if (verity === undefined) return {};
  seals.set(file, verity);
  return { verity };
}
