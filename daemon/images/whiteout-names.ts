import { childOf, nameOf, parentOf } from './order.ts';
import { badArchive } from './tar-headers.ts';

const prefix = '.wh.';
const opaqueMark = '.wh..wh..opq';

/** What a name in a layer archive means: a deletion, a folder that hides all below, or nothing special. */
export type WhiteoutName =
  | { kind: 'plain' }
  | { kind: 'note' }
  | { kind: 'opaque'; folder: string }
  | { kind: 'hidden'; path: string };

/**
 * Reads a path of a layer archive by the rules of the OCI image specification. Names of '.wh..wh.'
 * are notes of aufs to itself and mean nothing.
 * @throws PersonaError 'bad-archive' for a deletion of nothing.
 */
export function whiteoutName(path: string): WhiteoutName {
  const name = nameOf(path);
  if (!name.startsWith(prefix)) return { kind: 'plain' };
  if (name === opaqueMark) return { kind: 'opaque', folder: parentOf(path) };
  if (name.startsWith(prefix + prefix)) return { kind: 'note' };
  const hidden = name.slice(prefix.length);
  if (hidden === '' || hidden === '.' || hidden === '..')
    throw badArchive('it has a whiteout of nothing');
  return { kind: 'hidden', path: childOf(parentOf(path), hidden) };
}
