import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { failedWith } from '../kernel/errno.ts';
import { canonicalJson } from '../kernel/records.ts';
import { hashOf, openSealed } from '../kernel/sealed.ts';
import { layerFile } from './layer.ts';
import type { PersonasRoom } from './room.ts';

/** Rises with every change of what equal inputs become. */
export const layerBuilder = 1;

/** Everything that an added layer is made from. */
export interface LayerInputs {
  kind: 'seed' | 'config';
  /** Layers serve only within one domain (SECURITY 12). */
  domain: string;
  /** Digests of the images below: the layer's folders look like theirs. */
  base: string;
  diff: string;
  /** SHA-256 of the member. */
  member: string;
}

/** The cache key of a layer: a digest over everything it is made from. */
export function layerKey(inputs: LayerInputs): string {
  const text = canonicalJson({ ...inputs, builder: layerBuilder });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** A layer built before from the same inputs, whose bytes are still what they were; or undefined. */
export async function cachedLayer(
  room: Pick<PersonasRoom, 'store' | 'paths'>,
  inputs: LayerInputs,
): Promise<{ digest: string; bytes: number } | undefined> {
  const row = await room.store.get(
    'SELECT digest, bytes FROM layers WHERE kind = ? AND input = ?',
    inputs.kind,
    layerKey(inputs),
  );
  if (row === undefined) return undefined;
  const digest = String(row.digest);
  try {
    const handle = await openSealed(join(room.paths.state, layerFile(digest)));
    try {
      // Small images: asking their bytes again costs less than trusting a row.
      if ((await hashOf(handle)) !== digest) return undefined;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
  return { digest, bytes: Number(row.bytes) };
}
