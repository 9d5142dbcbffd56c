import { type ByteSource, fileSource } from './byte-source.ts';
import { type Entry, isWhiteout } from './entry.ts';
import { checkEntry } from './entry-grammar.ts';
import { decodeDevice, direntType, layouts, typeBits } from './erofs-format.ts';
import { ErofsImage } from './erofs-image.ts';
import { type Inode, readInode } from './erofs-inode.ts';
import { type ChunkBudget, stretchesOf } from './erofs-map.ts';
import { type Dirent, type NameBudget, readNames } from './erofs-names.ts';
import { XattrReader } from './erofs-xattrs.ts';
import { badImage } from './faults.ts';
import { targetBytesMax } from './limits.ts';
import { childOf } from './order.ts';
import type { OpenOptions } from './readers.ts';
import { SequenceCheck } from './sequence.ts';
import type { Tree } from './tree.ts';

/** One read of content. Reads block: readers run in a child of their own. */
const pieceBytes = 1024 * 1024;

/**
 * Opens the uncompressed erofs image in `fd` as a tree; the descriptor stays the caller's. The whole
 * structure is read and checked here; content is read on demand.
 * @throws PersonaError 'bad-image', 'limit-exceeded', or 'not-supported' for compressed images.
 */
export async function openErofs(fd: number, options: OpenOptions): Promise<Tree> {
  return readErofs(fileSource(fd, options.offset ?? 0), options);
}

/** As `openErofs`, from any source of bytes. */
export function readErofs(source: ByteSource, options: OpenOptions): Tree {
  const image = new ErofsImage(source);
  const walk = new Walk(image, options);
  walk.run();
  const { entries, nids } = walk;
  const read = async function* (entry: Entry): AsyncGenerator<Buffer> {
    const nid = nids.get(entry);
    if (nid === undefined) return;
    const inode = readInode(image, nid);
    let position = 0;
    for (const { offset, at, length } of stretchesOf(image, inode, { used: 0 })) {
      if (entry.extents === undefined) yield* zeroBytes(offset - position);
      for (let done = 0; done < length; done += pieceBytes) {
        yield image.readData(at + done, Math.min(pieceBytes, length - done));
      }
      position = offset + length;
    }
    if (entry.extents === undefined) yield* zeroBytes(inode.size - position);
  };
  return { entries, read, close: async () => {} };
}

const zeros = Buffer.alloc(pieceBytes);

/** The zeros of a hole, for a file with more holes than an entry can name. */
function* zeroBytes(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= pieceBytes) {
    yield zeros.subarray(0, Math.min(left, pieceBytes));
  }
}

interface OpenFolder {
  path: string;
  nid: number;
  names: Dirent[];
  next: number;
}

/** Walks the folders depth first, which is path order, and collects checked entries. */
class Walk {
  readonly entries: Entry[] = [];
  /** The inode of every file with content. */
  readonly nids = new Map<Entry, number>();
  private readonly image: ErofsImage;
  private readonly options: OpenOptions;
  private readonly check: SequenceCheck;
  private readonly budgets: { names: NameBudget; chunks: ChunkBudget };
  private readonly folders = new Set<number>();
  /** Where each inode that says it has several names was met first. */
  private readonly firstNames = new Map<number, string>();
  private readonly xattrs = new XattrReader();
  private readonly open: OpenFolder[] = [];

  constructor(image: ErofsImage, options: OpenOptions) {
    this.image = image;
    this.options = options;
    this.check = new SequenceCheck(options.limits, options.kind ?? 'tree', true);
    // Every folder adds '.' and '..' to the names that become entries.
    const names = { used: 0, most: 3 * options.limits.entries };
    this.budgets = { names, chunks: { used: 0 } };
  }

  run(): void {
    this.enter('', this.image.rootNid, direntType(typeBits.dir));
    for (let folder = this.open.at(-1); folder !== undefined; folder = this.open.at(-1)) {
      const dirent = folder.names[folder.next++];
      if (dirent === undefined) this.open.pop();
      else this.enter(childOf(folder.path, dirent.name), dirent.nid, dirent.type);
    }
  }

  private enter(path: string, nid: number, direntKind: number): void {
    const first = this.firstNames.get(nid);
    const inode = first === undefined ? readInode(this.image, nid) : undefined;
    const entry = inode === undefined ? linkTo(path, first as string) : this.describe(path, inode);
    this.check.next(checkEntry(entry, this.options.limits));
    this.entries.push(entry);
    if (inode === undefined) return;
    const kind = direntType(typeBits[inode.type]);
    if (direntKind !== 0 && direntKind !== kind) throw badImage(`inode ${nid} has two types`);
    if (inode.type === 'dir') this.enterFolder(path, inode);
    // Deletion marks of an upper share one inode, which means nothing.
    else if (inode.links !== 1 && !isWhiteout(entry)) this.firstNames.set(nid, path);
    if (inode.type === 'file' && inode.size > 0) this.nids.set(entry, nid);
  }

  private enterFolder(path: string, inode: Inode): void {
    // A folder with two parents could contain itself.
    if (this.folders.has(inode.nid))
      throw badImage(`the folder with inode ${inode.nid} stands twice`);
    this.folders.add(inode.nid);
    const parent = this.open.at(-1)?.nid ?? inode.nid;
    this.open.push({
      path,
      nid: inode.nid,
      names: readNames(this.image, inode, parent, this.budgets),
      next: 0,
    });
  }

  private describe(path: string, inode: Inode): Entry {
    const { type, mode, uid, gid, mtime, mtimeNs } = inode;
    const xattrs = this.xattrs.read(this.image, inode);
    const entry: Entry = { path, type, mode, uid, gid, mtime, mtimeNs, xattrs };
    if (type === 'symlink') entry.target = this.target(inode);
    else if (type === 'char' || type === 'block') entry.rdev = decodeDevice(inode.word);
    else if (type === 'file') this.describeData(entry, inode);
    return entry;
  }

  private target(inode: Inode): string {
    if (inode.size > targetBytesMax) throw badImage(`the link with inode ${inode.nid} is too long`);
    let target = '';
    for (const { offset, length, at } of stretchesOf(this.image, inode, this.budgets.chunks)) {
      if (offset !== target.length) break;
      target += this.image.read(at, length).toString('latin1');
    }
    if (target.length !== inode.size) throw badImage(`the link with inode ${inode.nid} has a hole`);
    return target;
  }

  private describeData(entry: Entry, inode: Inode): void {
    entry.size = inode.size;
    if (inode.size > this.options.limits.fileBytes) return;
    const extents: [number, number][] = [];
    for (const { offset, length } of stretchesOf(this.image, inode, this.budgets.chunks)) {
      const last = extents.at(-1);
      if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
      else extents.push([offset, length]);
      // Too many to name: the holes are read as zeros instead.
      if (extents.length > this.options.limits.extents) return;
    }
    const whole = extents.length === 1 && extents[0]?.[1] === inode.size;
    if (!whole && inode.size > 0 && inode.layout === layouts.chunks) entry.extents = extents;
  }
}

function linkTo(path: string, target: string): Entry {
  const zero = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
  return { path, type: 'hardlink', ...zero, xattrs: [], target };
}
