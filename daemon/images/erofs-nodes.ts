import { type Entry, shownPath } from './entry.ts';
import {
  encodeDevice,
  layouts,
  typeBits,
  xattrHeaderBytes,
  xattrPrefixes,
} from './erofs-format.ts';
import { badImage } from './faults.ts';
import { isBelow, nameOf } from './order.ts';

/** One inode to be written. Directory fields are empty for other types. */
export class Node {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  nlink = 1;
  size = 0;
  layout: number = layouts.plain;
  /** i_u: the first data block, the packed device number, or the chunk format. */
  word = 0;
  nid = 0;
  /** The encoded inline attributes, shared between equal ones. */
  readonly xattrs: Buffer | undefined;
  /** Content kept in memory: a small file, or the target of a symlink. */
  tail: Buffer | undefined = undefined;
  /** Stored chunks of a sparse file (see PlacedData), and the block of the first. */
  runs: number[] | undefined = undefined;
  block = 0;
  /** Of a folder: names in bytewise order with their nodes. */
  names: string[] | undefined = undefined;
  children: Node[] | undefined = undefined;
  parent: Node | undefined = undefined;

  constructor(entry: Entry, type: keyof typeof typeBits, xattrs: Buffer | undefined) {
    this.mode = typeBits[type] | entry.mode;
    this.uid = entry.uid;
    this.gid = entry.gid;
    this.mtime = entry.mtime;
    this.mtimeNs = entry.mtimeNs;
    this.xattrs = xattrs;
  }
}

/** Builds the inodes and folders of an image from entries in path order. */
export class NodeTree {
  /** Every inode, in the order of its first name; the root is the first. */
  readonly nodes: Node[] = [];
  private readonly xattrs = new Map<string, Buffer>();
  private open: { path: string; node: Node }[] = [];

  /** Adds the next entry; hard links only add a name. Returns the entry's node. */
  add(entry: Entry): Node {
    if (entry.path === '') return this.addRoot(entry);
    while (this.open.length > 1 && !isBelow(entry.path, this.open.at(-1)?.path ?? ''))
      this.open.pop();
    const folder = this.open.at(-1)?.node;
    if (folder?.names === undefined) throw badImage('the first entry is not the root');
    const node = entry.type === 'hardlink' ? this.linked(entry) : this.create(entry);
    folder.names.push(nameOf(entry.path));
    folder.children?.push(node);
    if (entry.type === 'dir') {
      folder.nlink += 1;
      node.parent = folder;
      this.open.push({ path: entry.path, node });
    }
    return node;
  }

  private addRoot(entry: Entry): Node {
    const root = this.create(entry);
    root.parent = root;
    this.open = [{ path: '', node: root }];
    return root;
  }

  private create(entry: Entry): Node {
    const type = entry.type === 'hardlink' ? 'file' : entry.type;
    const node = new Node(entry, type, this.encodedXattrs(entry));
    if (type === 'dir') {
      node.nlink = 2;
      node.names = [];
      node.children = [];
    } else if (type === 'symlink') {
      node.tail = Buffer.from(entry.target ?? '', 'latin1');
      node.size = node.tail.length;
    } else if (type === 'char' || type === 'block') {
      const [major, minor] = entry.rdev ?? [0, 0];
      node.word = encodeDevice(major, minor);
    } else if (type === 'file') node.size = entry.size ?? 0;
    this.nodes.push(node);
    return node;
  }

  private linked(entry: Entry): Node {
    let node: Node | undefined = this.nodes[0];
    for (const name of (entry.target ?? '').split('/')) {
      const at: number = findName(node?.names ?? [], name);
      node = at < 0 ? undefined : node?.children?.[at];
    }
    if (node === undefined || node.names !== undefined) {
      throw badImage(`${shownPath(entry.path)} is a hard link to nothing before it`);
    }
    node.nlink += 1;
    return node;
  }

  private encodedXattrs(entry: Entry): Buffer | undefined {
    if (entry.xattrs.length === 0) return undefined;
    const bytes = encodeXattrs(entry.xattrs);
    const key = bytes.toString('latin1');
    const known = this.xattrs.get(key);
    if (known !== undefined) return known;
    this.xattrs.set(key, bytes);
    return bytes;
  }
}

/** The index of `name` among sorted names, or -1. */
function findName(names: string[], name: string): number {
  let low = 0;
  let high = names.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = names[middle] as string;
    if (found === name) return middle;
    if (found < name) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/**
 * The inline attribute area of an inode: header, then per attribute name length, name space, value
 * length, rest of the name, value, padded to 4. @throws PersonaError 'bad-image' for a name space
 * that erofs does not have.
 */
export function encodeXattrs(xattrs: Entry['xattrs']): Buffer {
  const parts: Buffer[] = [Buffer.alloc(xattrHeaderBytes)];
  for (const [name, value] of xattrs) {
    const found = xattrPrefixes.find(([, prefix]) =>
      prefix.endsWith('.') ? name.startsWith(prefix) : name === prefix,
    );
    if (found === undefined)
      throw badImage(`attribute ${JSON.stringify(name)} has no place in erofs`);
    const rest = name.slice(found[1].length);
    const entry = Buffer.alloc(Math.ceil((4 + rest.length + value.length) / 4) * 4);
    entry.writeUInt8(rest.length, 0);
    entry.writeUInt8(found[0], 1);
    entry.writeUInt16LE(value.length, 2);
    entry.write(rest, 4, 'latin1');
    entry.write(value, 4 + rest.length, 'latin1');
    parts.push(entry);
  }
  return Buffer.concat(parts);
}
