import { type Entry, isOpaque, isWhiteout, opaqueXattr } from './entry.ts';
import { linkTargets } from './entry-compare.ts';
import { isBelow } from './order.ts';
import { paired } from './paired.ts';
import { noContent, type Tree } from './tree.ts';

/** A file and the tree that holds its content. */
interface Source {
  tree: Tree;
  entry: Entry;
}

/**
 * What one sees when the layer `diff` lies over `base`, by the rules of overlayfs: whiteouts remove,
 * opaque folders and everything that is no folder hide what is below, folders merge with the metadata
 * of the layer. Hard links keep together only within one of the two. Both stay open as long as the
 * result is used.
 */
export function applyDiff(base: Tree, diff: Tree): Tree {
  const result = new Result();
  const baseFirsts = linkTargets(base.entries);
  const diffFirsts = linkTargets(diff.entries);
  let hidden: string | undefined;
  for (const { a, b } of paired(base.entries, diff.entries)) {
    if (b !== undefined) {
      if (isWhiteout(b) || b.type !== 'dir' || isOpaque(b) || (a && a.type !== 'dir')) {
        if (hidden === undefined || !isBelow(b.path, hidden)) hidden = b.path;
      }
      if (!isWhiteout(b)) result.add(b, sourceOf(diff, b, diffFirsts));
    } else if (a !== undefined && !(hidden !== undefined && isBelow(a.path, hidden))) {
      result.add(a, sourceOf(base, a, baseFirsts));
    }
  }
  const { entries, sources } = result;
  const read = (entry: Entry) => {
    const source = sources.get(entry);
    return source === undefined ? noContent : source.tree.read(source.entry);
  };
  return { entries, read, close: async () => {} };
}

function sourceOf(tree: Tree, entry: Entry, byPath: Map<string, Entry>): Source {
  const first = entry.type === 'hardlink' ? byPath.get(entry.target ?? '') : entry;
  return { tree, entry: first ?? entry };
}

/** Collects names; the first remaining name of each file becomes the one the others link to. */
class Result {
  readonly entries: Entry[] = [];
  readonly sources = new Map<Entry, Source>();
  private readonly firstNames = new Map<Entry, string>();

  add(named: Entry, source: Source): void {
    const { path } = named;
    const { entry } = source;
    const first = this.firstNames.get(entry);
    if (first !== undefined) {
      const zero = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
      this.entries.push({ path, type: 'hardlink', ...zero, xattrs: [], target: first });
      return;
    }
    const placed = { ...entry, path };
    if (isOpaque(entry)) placed.xattrs = entry.xattrs.filter(([name]) => name !== opaqueXattr);
    if (entry.type !== 'dir') this.firstNames.set(entry, path);
    if (entry.type === 'file') this.sources.set(placed, source);
    this.entries.push(placed);
  }
}
