import type { Store } from '../store/store.ts';
import { layerFile } from './layer.ts';
import type { Persona } from './persona.ts';
import type { PersonaBook } from './persona-book.ts';
import { originalFile, personaFile } from './persona-files.ts';

/** A file that rows of bases and personas name, with the digest of all its bytes. */
export interface KeptFile {
  /** Path in the state tree. */
  file: string;
  digest: string;
  bytes: number;
  /** `original`: a persona file as it came, kept beside the repacked one and never mounted. */
  kind: 'layer' | 'persona' | 'original';
  /** Digests of the layers that are mounted from it. */
  layers: string[];
  bases: string[];
  personas: string[];
}

/** Every file of bases, personas and layers. */
export async function keptFiles({
  store,
  book,
}: {
  store: Pick<Store, 'kept'>;
  book: PersonaBook;
}): Promise<KeptFile[]> {
  const files = new Map<string, KeptFile>();
  const rows = await store.kept(
    `SELECT layers.digest, layers.bytes, bases.name AS base
     FROM layers LEFT JOIN bases ON bases.digest = layers.digest ORDER BY bases.name`,
  );
  for (const { digest, bytes, base } of rows) {
    const layer = String(digest);
    const file = layerFile(layer);
    const known = { file, digest: layer, bytes: Number(bytes), kind: 'layer' as const };
    if (!files.has(file)) files.set(file, { ...known, layers: [layer], bases: [], personas: [] });
    if (base !== null) files.get(file)?.bases.push(String(base));
  }
  for (const persona of book.personas()) addPersona(files, persona);
  return [...files.values()];
}

function addPersona(files: Map<string, KeptFile>, persona: Persona): void {
  const { name, digest, fileDigest, bytes, layers, originDigest, originBytes } = persona;
  const file = personaFile(digest);
  const inside = layers.filter((layer) => layer.file === file).map((layer) => layer.digest);
  const none = { bases: [], personas: [] as string[] };
  if (!files.has(file))
    files.set(file, { file, digest: fileDigest, bytes, kind: 'persona', layers: inside, ...none });
  const original = originalFile(digest);
  if (originDigest !== undefined && originBytes !== undefined && !files.has(original))
    files.set(original, {
      ...{ file: original, digest: originDigest, bytes: originBytes },
      ...{ kind: 'original', layers: [], bases: [], personas: [] },
    });
  for (const place of new Set([file, original, ...layers.map((layer) => layer.file)]))
    files.get(place)?.personas.push(name);
}
