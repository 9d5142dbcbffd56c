import { archivePath } from './archive-path.ts';
import type { ByteSource } from './byte-source.ts';
import { type Entry, opaqueXattr, shownPath } from './entry.ts';
import type { Limits } from './limits.ts';
import { type Inode, NodeTree, type PlaceOptions } from './node-tree.ts';
import { childOf, compareBytes, nameOf, parentOf } from './order.ts';
import { badArchive } from './tar-headers.ts';
import { addTar } from './tar-reader.ts';
import type { Tree } from './tree.ts';

const whiteoutPrefix = '.wh.';
const opaqueMark = '.wh..wh..opq';

/**
 * Opens an uncompressed layer tar of a container image as a layer of ours: its `.wh.` marks become the marks of
 * overlayfs. A mark hides what lies below the layer and never what the layer itself has at that place, so beside a
 * folder of the same name it makes that folder opaque.
 * @throws PersonaError 'bad-archive', 'bad-image' or 'limit-exceeded'.
 */
export function layerTarTree(source: ByteSource, limits: Limits): Tree {
  const tree = new NodeTree(limits);
  const options: PlaceOptions = { layer: 0, links: 'refuse' };
  const hidden = new Set<string>();
  const opaque = new Set<string>();
  addTar(tree, source, limits, options, (path) => {
    const name = nameOf(path);
    if (!name.startsWith(whiteoutPrefix)) return false;
    if (name === opaqueMark) opaque.add(parentOf(path));
    // Other names with two marks are notes of aufs to itself.
    else if (!name.startsWith(whiteoutPrefix + whiteoutPrefix)) hidden.add(hiddenPath(path));
    if (hidden.size + opaque.size > limits.entries) throw badArchive('it has too many marks');
    return true;
  });
  const present = new Map(tree.toTree().entries.map((entry) => [entry.path, entry]));
  for (const path of hidden) {
    const entry = present.get(path);
    if (entry === undefined) tree.put(path, whiteout(), options);
    else if (entry.type === 'dir') opaque.add(path);
  }
  return withOpaque(tree.toTree(), opaque);
}

function hiddenPath(path: string): string {
  const name = nameOf(path).slice(whiteoutPrefix.length);
  if (name === '' || name === '.' || name === '..') throw badArchive('it has a mark for nothing');
  return archivePath(childOf(parentOf(path), name), 'a mark');
}

function whiteout(): Inode {
  const numbers = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
  return { type: 'char', ...numbers, xattrs: [], rdev: [0, 0] };
}

function withOpaque(tree: Tree, opaque: ReadonlySet<string>): Tree {
  if (opaque.size === 0) return tree;
  const original = new Map<Entry, Entry>();
  const entries = tree.entries.map((entry) => {
    if (!opaque.has(entry.path)) return entry;
    if (entry.type !== 'dir') {
      throw badArchive(`${shownPath(entry.path)} is marked as a folder, and is none`);
    }
    const xattrs: Entry['xattrs'] = [
      ...entry.xattrs.filter(([name]) => name !== opaqueXattr),
      [opaqueXattr, 'y'],
    ];
    const marked = { ...entry, xattrs: xattrs.sort((a, b) => compareBytes(a[0], b[0])) };
    original.set(marked, entry);
    return marked;
  });
  return {
    entries,
    read: (entry) => tree.read(original.get(entry) ?? entry),
    close: () => tree.close(),
  };
}
