import { type Entry, isOpaque, isWhiteout, opaqueXattr, shownPath } from './entry.ts';
import { differentAspects, linkGroups, sameNames } from './entry-compare.ts';
import { badImage } from './faults.ts';
import { compareBytes, isBelow } from './order.ts';
import { paired } from './paired.ts';
import { sameContent } from './same-content.ts';
import { noContent, type Tree } from './tree.ts';

/**
 * The layer that turns `base` into `wanted` when overlayfs puts it on top, computed without a mount.
 * Rules: a changed entry stands there whole; the folders above it with the metadata they have in
 * `wanted`; a removed path as one whiteout; a folder in place of something else as opaque; and of a
 * hard-link group all names or none, because overlayfs cannot link into a layer below. Every piece
 * of metadata counts, and contents are compared byte by byte. The root is always there.
 * The result reads from `wanted`, which stays open as long.
 * @throws PersonaError 'bad-image' when a tree holds what a layer cannot express.
 */
export async function diffTrees(base: Tree, wanted: Tree): Promise<Tree> {
  refuseMarks(base);
  refuseMarks(wanted);
  const layer = new Layer(base, wanted);
  for (const { a, b } of paired(base.entries, wanted.entries)) {
    if (b === undefined) layer.removed(a as Entry);
    else await layer.present(a, b);
  }
  const read = (entry: Entry) => (entry.type === 'file' ? wanted.read(entry) : noContent);
  return { entries: layer.entries, read, close: async () => {} };
}

function refuseMarks(tree: Tree): void {
  for (const entry of tree.entries) {
    if (isWhiteout(entry)) {
      throw badImage(
        `${shownPath(entry.path)} is a char device 0/0, which would delete in a layer`,
      );
    }
    if (isOpaque(entry)) throw badImage(`${shownPath(entry.path)} is marked opaque`);
  }
}

class Layer {
  readonly entries: Entry[] = [];
  private readonly base: Tree;
  private readonly wanted: Tree;
  private readonly baseGroups: Map<string, string[]>;
  private readonly wantedGroups: Map<string, string[]>;
  /** First names of hard-link groups that are emitted. */
  private readonly changedGroups = new Set<string>();
  /** Folders from the root to the current path, and how many of them are already in the layer. */
  private readonly folders: Entry[] = [];
  private emitted = 0;
  /** Everything of the base below this path is gone already. */
  private gone: string | undefined;

  constructor(base: Tree, wanted: Tree) {
    this.base = base;
    this.wanted = wanted;
    this.baseGroups = linkGroups(base.entries);
    this.wantedGroups = linkGroups(wanted.entries);
  }

  /** A path that only the base has. */
  removed(entry: Entry): void {
    if (this.gone !== undefined && isBelow(entry.path, this.gone)) return;
    this.gone = entry.path;
    this.emit(whiteout(entry.path));
  }

  /** A path of the wanted tree, with what the base has there. */
  async present(before: Entry | undefined, entry: Entry): Promise<void> {
    if (entry.type === 'dir') return this.folder(before, entry);
    if (before?.type === 'dir') this.gone = before.path;
    const changed =
      entry.type === 'hardlink'
        ? this.changedGroups.has(entry.target ?? '')
        : !(await this.isSame(before, entry));
    if (!changed) return;
    if (entry.type !== 'hardlink') this.changedGroups.add(entry.path);
    this.emit(entry);
  }

  private folder(before: Entry | undefined, entry: Entry): void {
    this.leave(entry.path);
    const replaces = before !== undefined && before.type !== 'dir';
    const shown = replaces ? asOpaque(entry) : entry;
    this.folders.push(shown);
    const same = before !== undefined && differentAspects(before, entry).length === 0;
    // The root too, even when nothing changed: a layer is a tree.
    if (!same || entry.path === '') this.emitFolders();
  }

  private async isSame(before: Entry | undefined, entry: Entry): Promise<boolean> {
    if (before === undefined || differentAspects(before, entry).length > 0) return false;
    if (!sameNames(this.baseGroups.get(entry.path), this.wantedGroups.get(entry.path)))
      return false;
    if (entry.type !== 'file') return true;
    return sameContent({ tree: this.base, entry: before }, { tree: this.wanted, entry });
  }

  private emit(entry: Entry): void {
    this.leave(entry.path);
    this.emitFolders();
    this.entries.push(entry);
  }

  private emitFolders(): void {
    while (this.emitted < this.folders.length) {
      this.entries.push(this.folders[this.emitted++] as Entry);
    }
  }

  /** Closes the folders that do not hold `path`. */
  private leave(path: string): void {
    while (this.folders.length > 0 && !isBelow(path, this.folders.at(-1)?.path ?? '')) {
      this.folders.pop();
    }
    this.emitted = Math.min(this.emitted, this.folders.length);
  }
}

function whiteout(path: string): Entry {
  const numbers = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
  return { path, type: 'char', ...numbers, xattrs: [], rdev: [0, 0] };
}

function asOpaque(folder: Entry): Entry {
  const xattrs: Entry['xattrs'] = [...folder.xattrs, [opaqueXattr, 'y']];
  return { ...folder, xattrs: xattrs.sort((a, b) => compareBytes(a[0], b[0])) };
}
