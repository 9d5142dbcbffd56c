import type { Row, Store, Tx } from '../store/store.ts';
import type { LayerKind } from './layer.ts';
import type { Persona, PersonaLayer } from './persona.ts';

/** What has no column of its own. */
type Detail = Pick<
  Persona,
  | 'metadata'
  | 'signature'
  | 'fileDigest'
  | 'environment'
  | 'privileged'
  | 'domain'
  | 'originBytes'
  | 'verity'
> & { baseName?: string };

function layerOf(row: Row): PersonaLayer {
  const place = JSON.parse(String(row.detail)) as Pick<PersonaLayer, 'file' | 'offset' | 'bytes'>;
  return { kind: row.kind as LayerKind, digest: String(row.digest), ...place };
}

function personaOf(row: Row, layers: PersonaLayer[]): Persona {
  const { baseName, ...detail } = JSON.parse(String(row.detail)) as Detail;
  return {
    name: String(row.name),
    digest: String(row.digest),
    owner: Number(row.owner),
    importedMs: Number(row.created),
    bytes: Number(row.bytes),
    base: {
      digest: String(row.base_digest),
      ...(baseName === undefined ? {} : { name: baseName }),
    },
    layers,
    ...(row.origin_digest === null ? {} : { originDigest: String(row.origin_digest) }),
    ...detail,
  };
}

/** Every persona, by name. */
export async function readPersonas(store: Store): Promise<Persona[]> {
  const rows = await store.all('SELECT * FROM personas ORDER BY name');
  const layers = new Map<string, PersonaLayer[]>();
  for (const row of await store.all('SELECT * FROM persona_layers ORDER BY persona, position')) {
    const of = layers.get(String(row.persona)) ?? [];
    of.push(layerOf(row));
    layers.set(String(row.persona), of);
  }
  return rows.map((row) => personaOf(row, layers.get(String(row.name)) ?? []));
}

/**
 * Adds a persona with its layers. Fails on a constraint, and so undoes its change, when the name was taken or its
 * base or another layer was removed since the change began.
 */
export function insertPersona(tx: Tx, persona: Persona, change: number): void {
  const { metadata, signature, fileDigest, environment, privileged, domain } = persona;
  const { originBytes, verity } = persona;
  const detail: Detail = {
    metadata,
    ...(signature === undefined ? {} : { signature }),
    fileDigest,
    environment,
    privileged,
    domain,
    ...(originBytes === undefined ? {} : { originBytes }),
    ...(verity === undefined ? {} : { verity }),
    ...(persona.base.name === undefined ? {} : { baseName: persona.base.name }),
  };
  tx.run(
    `INSERT INTO personas
       (name, digest, origin_digest, base_digest, owner, created, bytes, signed_by, change, detail)
     VALUES (?, ?, ?, (SELECT digest FROM layers WHERE digest = ? AND kind = 'base'), ?, ?, ?, ?, ?, ?)`,
    persona.name,
    persona.digest,
    persona.originDigest ?? null,
    persona.base.digest,
    persona.owner,
    persona.importedMs,
    persona.bytes,
    signature?.key_id ?? null,
    change,
    JSON.stringify(detail),
  );
  for (const [position, { kind, digest, file, offset, bytes }] of persona.layers.entries()) {
    const layer = kind === 'diff' ? '?' : '(SELECT digest FROM layers WHERE digest = ?)';
    tx.run(
      `INSERT INTO persona_layers (persona, position, kind, digest, detail) VALUES (?, ?, ?, ${layer}, ?)`,
      persona.name,
      position,
      kind,
      digest,
      JSON.stringify({ file, offset, bytes }),
    );
  }
}

/** Forgets a persona; its layers' own rows stay. */
export function deletePersona(tx: Tx, name: string): void {
  tx.run('DELETE FROM persona_layers WHERE persona = ?', name);
  tx.run('DELETE FROM personas WHERE name = ?', name);
}
