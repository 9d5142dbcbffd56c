import type { ByteSource } from './byte-source.ts';
import { opaqueXattr } from './entry.ts';
import { overLimit } from './faults.ts';
import type { Limits } from './limits.ts';
import { type Inode, NodeTree, type PlaceOptions } from './node-tree.ts';
import { compareBytes, parentOf } from './order.ts';
import { badArchive } from './tar-headers.ts';
import { addTar } from './tar-reader.ts';
import type { Tree } from './tree.ts';
import { whiteoutName } from './whiteout-names.ts';

const options: PlaceOptions = { layer: 1, links: 'refuse' };

/**
 * An uncompressed layer tar as a layer in the form of overlayfs: deletions by name ('.wh.x')
 * become char devices 0/0, opaque marks become the attribute of their folder. Marks that are in that
 * form already stay as they are.
 * @throws PersonaError 'bad-archive', 'bad-image' or 'limit-exceeded'.
 */
export function layerTarTree(source: ByteSource, limits: Limits): Tree {
  const tree = new NodeTree(limits);
  const hidden = new Set<string>();
  const opaque = new Set<string>();
  addTar(tree, source, limits, options, (path) => {
    const meaning = whiteoutName(path);
    if (meaning.kind === 'opaque') opaque.add(meaning.folder);
    else if (meaning.kind === 'hidden') hidden.add(meaning.path);
    if (hidden.size + opaque.size > limits.entries) {
      throw overLimit('the number of deletions', limits.entries);
    }
    return meaning.kind !== 'plain';
  });
  for (const path of hidden) {
    const own = tree.inodeAt(path);
    // Deleted below and made anew here: a folder hides what was in the old one, all else replaces it.
    if (own?.type === 'dir') opaque.add(path);
    else if (own === undefined) tree.put(path, whiteout(), options);
  }
  if (opaque.has('')) throw badArchive('it hides the whole tree below it: that is no difference');
  for (const folder of opaque) markOpaque(tree, folder);
  // Inside an opaque folder there is nothing left to delete; the mark itself would be seen.
  for (const path of hidden) {
    const own = tree.inodeAt(path);
    if (own?.type === 'char' && opaque.has(parentOf(path))) tree.remove(path, options);
  }
  return tree.toTree();
}

function whiteout(): Inode {
  return { type: 'char', mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [], rdev: [0, 0] };
}

function markOpaque(tree: NodeTree, folder: string): void {
  const inode = tree.inodeAt(folder) ?? { ...whiteout(), type: 'dir' as const, mode: 0o755 };
  const { rdev: _, ...plain } = inode;
  const others = plain.xattrs.filter(([name]) => name !== opaqueXattr);
  const mark: [string, string] = [opaqueXattr, 'y'];
  const xattrs = [...others, mark].sort(([a], [b]) => compareBytes(a, b));
  tree.put(folder, { ...plain, xattrs }, options);
}
