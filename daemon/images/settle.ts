import { PersonaError } from '../../ipc/errors.ts';
import { type Entry, shownPath } from './entry.ts';
import type { Tree } from './tree.ts';

/**
 * Fits a layer of added files (data seed, runtime configuration) to the tree it will lie on. In an
 * overlay the upper folder's owner and mode are the ones that count, so folders that are there
 * already keep what they are.
 * @param lower gives what stands at a path of the tree below, if anything.
 * @param what names the layer in messages.
 * @throws PersonaError 'bad-persona' when a folder would hide a link or a file, or a file a folder.
 */
export function settleOn(
  layer: Tree,
  lower: (path: string) => Entry | undefined,
  what: string,
): Tree {
  const entries = layer.entries.map((entry) => {
    const below = lower(entry.path);
    if (below === undefined) return entry;
    if (entry.type === 'dir') {
      if (below.type === 'dir') return settledFolder(entry.path, below);
      throw clash(what, entry.path, `is a ${below.type} in the persona's tree`);
    }
    if (below.type === 'dir') throw clash(what, entry.path, 'would replace a folder');
    return entry;
  });
  const original = new Map(entries.map((entry, i) => [entry, layer.entries[i] as Entry]));
  return {
    entries,
    read: (entry) => layer.read(original.get(entry) ?? entry),
    close: () => layer.close(),
  };
}

/** The folder below, without marks that only mean something in its own layer. */
function settledFolder(path: string, below: Entry): Entry {
  const xattrs = below.xattrs.filter(([name]) => !name.startsWith('trusted.overlay.'));
  return { ...below, path, xattrs };
}

function clash(what: string, path: string, reason: string): PersonaError {
  return new PersonaError('bad-persona', `${what}: ${shownPath(path)} ${reason}`);
}
