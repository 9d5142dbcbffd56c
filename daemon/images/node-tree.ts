import { type ByteSource, sourceBytes } from './byte-source.ts';
import { type Entry, extentsOf, isWhiteout, shownPath } from './entry.ts';
import { checkEntry } from './entry-grammar.ts';
import type { Limits } from './limits.ts';
import { MetadataBudget } from './metadata-budget.ts';
import { compareBytes } from './order.ts';
import { badArchive } from './tar-headers.ts';
import type { Tree } from './tree.ts';

/** Where the data extents of a file are stored: one range, in which they follow each other. */
export interface StoredData {
  source: ByteSource;
  offset: number;
}

/** Everything an entry says but its place. The object is shared by all names of a hard-link group. */
export type Inode = Omit<Entry, 'path'>;

interface Node {
  inode: Inode;
  /** Of a folder. */
  children?: Map<string, Node>;
  /** The last layer that put this node or something below it. */
  layer: number;
}

/** How names are placed. */
export interface PlaceOptions {
  /** Number of the layer, rising: what an earlier layer put may be replaced whole. */
  layer: number;
  /** What happens when a path leads through a symbolic link: an error, or it is followed inside. */
  links: 'refuse' | 'follow';
}

/** Links followed for one path, as the kernel's MAXSYMLINKS. */
const followedLinksMax = 40;

const folder = (): Inode => ({
  type: 'dir',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: 0,
  mtimeNs: 0,
  xattrs: [],
});

/**
 * A file tree that grows by the members of archives, later ones over earlier ones. Everything stays
 * in memory but file content; nothing here touches a file system, so no path can lead outside.
 */
export class NodeTree {
  private readonly root: Node = { inode: folder(), children: new Map(), layer: 0 };
  private readonly data = new Map<Inode, StoredData>();
  private readonly limits: Limits;
  /** Counts what was placed, not what is left: replacing names again and again is work too. */
  private readonly budget: MetadataBudget;

  constructor(limits: Limits) {
    this.limits = limits;
    this.budget = new MetadataBudget(limits);
  }

  /**
   * Puts an inode at `path` ('' = the root). A folder over a folder keeps what is inside; anything
   * else replaces what stood there.
   * @throws PersonaError 'bad-archive', 'bad-image' or 'limit-exceeded'.
   */
  put(path: string, inode: Inode, options: PlaceOptions, data?: StoredData): void {
    checkEntry({ ...inode, path }, this.limits);
    this.budget.count(path, inode);
    if (path === '') {
      this.root.inode = inode;
      return;
    }
    const { parent, name } = this.parentFor(path, options);
    const old = parent.children?.get(name);
    const children = this.childrenFor(path, inode, old, options);
    const node: Node = { inode, layer: options.layer, ...(children && { children }) };
    parent.children?.set(name, node);
    if (data !== undefined) this.data.set(inode, data);
  }

  /**
   * Makes `path` one more name of what stands at `target`.
   * @throws PersonaError 'bad-archive' when nothing stands there, or a folder.
   */
  link(path: string, target: string, options: PlaceOptions): void {
    const found = this.find(target, options);
    if (found === undefined) {
      throw badArchive(
        `${shownPath(path)} is a hard link to ${shownPath(target)}, not there before it`,
      );
    }
    if (found.inode.type === 'dir') {
      throw badArchive(`${shownPath(path)} is a hard link to a folder`);
    }
    this.budget.count(path);
    const { parent, name } = this.parentFor(path, options);
    const old = parent.children?.get(name);
    if (old?.inode === found.inode) return;
    this.childrenFor(path, found.inode, old, options);
    parent.children?.set(name, { inode: found.inode, layer: options.layer });
  }

  /** Takes away what stands at `path`, with everything below. Nothing there: no error. */
  remove(path: string, options: PlaceOptions): void {
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? this.root : this.find(path.slice(0, slash), options);
    parent?.children?.delete(path.slice(slash + 1));
  }

  /** Takes away everything below the folder at `path`. */
  empty(path: string, options: PlaceOptions): void {
    (path === '' ? this.root : this.find(path, options))?.children?.clear();
  }

  /** What stands at `path`, no link followed; undefined when nothing does. */
  inodeAt(path: string): Inode | undefined {
    return this.find(path, { layer: 0, links: 'refuse' })?.inode;
  }

  /** The first `most` bytes of the file at `path`, or undefined when there is no such file. */
  peek(path: string, most: number): Buffer | undefined {
    const inode = this.find(path, { layer: 0, links: 'follow' })?.inode;
    const data = inode && this.data.get(inode);
    if (inode?.type !== 'file' || inode.extents !== undefined || data === undefined)
      return undefined;
    return data.source.read(data.offset, Math.min(most, inode.size ?? 0));
  }

  /** The tree as it stands now. Every group of hard links is owned by its first name in path order. */
  toTree(): Tree {
    const data = new Map<Entry, StoredData>();
    const entries: Entry[] = [];
    const first = new Map<Inode, string>();
    for (const [path, { inode }] of walk(this.root)) {
      const owner = first.get(inode);
      if (owner !== undefined) {
        entries.push({ ...folder(), mode: 0, path, type: 'hardlink', target: owner });
        continue;
      }
      const entry: Entry = { path, ...inode };
      // Deletion marks may share one inode, which means nothing.
      if (inode.type !== 'dir' && !isWhiteout(entry)) first.set(inode, path);
      entries.push(entry);
      const stored = this.data.get(inode);
      if (stored !== undefined) data.set(entry, stored);
    }
    return { entries, read: (entry) => storedBytes(entry, data.get(entry)), close: async () => {} };
  }

  /** The folder that `path` goes into, made where it is missing, and the last component. */
  private parentFor(path: string, options: PlaceOptions): { parent: Node; name: string } {
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    return { parent: this.descend(parts, path, options, true) as Node, name };
  }

  private find(path: string, options: PlaceOptions): Node | undefined {
    if (path === '') return this.root;
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    return this.descend(parts, path, options, false)?.children?.get(name);
  }

  /** Walks down folders from the root. Missing ones are made, or end the walk. */
  private descend(
    components: string[],
    path: string,
    options: PlaceOptions,
    make: boolean,
  ): Node | undefined {
    const trail: Node[] = [this.root];
    const todo = components.toReversed();
    let followed = 0;
    while (todo.length > 0) {
      const part = todo.pop() ?? '';
      const at = trail.at(-1) as Node;
      if (make) at.layer = options.layer;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const next =
        at.children?.get(part) ?? (make ? this.makeFolder(at, part, options) : undefined);
      if (next === undefined) return undefined;
      if (next.children !== undefined) {
        trail.push(next);
      } else if (next.inode.type === 'symlink' && options.links === 'follow') {
        if (++followed > followedLinksMax) throw badArchive(`${shownPath(path)} leads in a circle`);
        const target = next.inode.target ?? '';
        if (target.startsWith('/')) trail.length = 1;
        todo.push(...target.split('/').reverse());
      } else if (next.inode.type === 'symlink') {
        throw badArchive(`${shownPath(path)} leads through the symbolic link ${shownPath(part)}`);
      } else if (make) {
        throw badArchive(`${shownPath(path)} lies below ${shownPath(part)}, which is no folder`);
      } else {
        return undefined;
      }
    }
    const end = trail.at(-1) as Node;
    if (make) end.layer = options.layer;
    return end;
  }

  private makeFolder(at: Node, name: string, options: PlaceOptions): Node {
    this.budget.count(name);
    const node: Node = { inode: folder(), children: new Map(), layer: options.layer };
    at.children?.set(name, node);
    return node;
  }

  /** The children a new node takes over from the old one at its place. */
  private childrenFor(
    path: string,
    inode: Inode,
    old: Node | undefined,
    options: PlaceOptions,
  ): Map<string, Node> | undefined {
    if (inode.type === 'dir') return old?.children ?? new Map();
    const used = old?.children !== undefined && old.children.size > 0;
    // A lower layer's folder may be replaced whole; one that this archive filled may not.
    if (used && old.layer === options.layer) {
      throw badArchive(`${shownPath(path)} would replace a folder that earlier members use`);
    }
    return undefined;
  }
}

/** The bytes of the data extents of a file. */
function storedBytes(entry: Entry, stored: StoredData | undefined): AsyncIterable<Buffer> {
  let length = 0;
  for (const [, bytes] of extentsOf(entry)) length += bytes;
  if (stored === undefined) return sourceBytes(emptySource, 0, 0);
  return sourceBytes(stored.source, stored.offset, length);
}

const emptySource: ByteSource = { size: 0, read: () => Buffer.alloc(0) };

/** Every node with its path, depth first, names bytewise: the one order of entries. */
function* walk(root: Node): Generator<[path: string, node: Node]> {
  const stack: [string, Node][] = [['', root]];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    yield next;
    const [path, { children }] = next;
    if (children === undefined) continue;
    const names = [...children.keys()].sort(compareBytes).reverse();
    for (const name of names) {
      stack.push([path === '' ? name : `${path}/${name}`, children.get(name) as Node]);
    }
  }
}
