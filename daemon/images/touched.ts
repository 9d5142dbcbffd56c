import { type Entry, isOpaque } from './entry.ts';
import { parentOf } from './order.ts';
import type { Tree } from './tree.ts';

/**
 * Tells of a path whether one of these layers says anything about it: names it, or replaces a folder above it. Two
 * trees made from one base by such layers are equal everywhere else, hard-link groups included, because a layer holds
 * all names of a group or none.
 */
export function touchedBy(layers: readonly Tree[]): (path: string) => boolean {
  const named = new Set<string>();
  /** Paths below which nothing of the base shows. */
  const covering = new Set<string>();
  for (const { entries } of layers) {
    for (const entry of entries) {
      named.add(entry.path);
      if (entry.type !== 'dir' || isOpaque(entry)) covering.add(entry.path);
    }
  }
  return (path) => {
    if (named.has(path)) return true;
    for (let up = path; up !== ''; ) {
      up = parentOf(up);
      if (covering.has(up)) return true;
    }
    return false;
  };
}

/** The tree with only the entries whose path is kept; the root stays. */
export function filtered(tree: Tree, keep: (path: string) => boolean): Tree {
  const entries = tree.entries.filter(({ path }: Entry) => path === '' || keep(path));
  return { entries, read: (entry) => tree.read(entry), close: () => tree.close() };
}
