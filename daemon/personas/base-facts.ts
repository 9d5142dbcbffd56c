import { PersonaError } from '../../ipc/errors.ts';
import type { Row, Store } from '../store/store.ts';
import { layerFile } from './layer.ts';
import type { PersonaLayer } from './persona.ts';

/** What personas need to know of a base. */
export interface BaseFacts {
  name: string;
  digest: string;
  bytes: number;
  os?: { id?: string; version?: string };
}

const query = `SELECT b.name AS name, b.digest AS digest, b.detail AS detail, l.bytes AS bytes
                 FROM bases b JOIN layers l ON l.digest = b.digest`;

function factsOf(row: Row): BaseFacts {
  const { os } = JSON.parse(String(row.detail)) as Pick<BaseFacts, 'os'>;
  return {
    name: String(row.name),
    digest: String(row.digest),
    bytes: Number(row.bytes),
    ...(os === undefined ? {} : { os }),
  };
}

/** A base by name or digest (of several names the one it had first), or undefined. */
export async function findBase(store: Store, reference: string): Promise<BaseFacts | undefined> {
  const column = reference.startsWith('sha256:') ? 'digest' : 'name';
  const row = await store.get(
    `${query} WHERE b.${column} = ? ORDER BY b.created, b.name LIMIT 1`,
    reference,
  );
  return row === undefined ? undefined : factsOf(row);
}

/** A base by name or digest. Throws base-not-found. */
export async function baseFacts(store: Store, reference: string): Promise<BaseFacts> {
  const found = await findBase(store, reference);
  if (found === undefined) throw new PersonaError('base-not-found', { base: reference });
  return found;
}

/** A base as the lowest layer of a persona. */
export function baseLayer({ digest, bytes }: Pick<BaseFacts, 'digest' | 'bytes'>): PersonaLayer {
  return { kind: 'base', digest, file: layerFile(digest), offset: 0, bytes };
}
