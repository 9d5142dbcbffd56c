import {
  type ByteSource,
  bufferSource,
  fileSource,
  pieceBytes,
  sourceBytes,
} from './byte-source.ts';
import type { Entry } from './entry.ts';
import { checkEntry } from './entry-grammar.ts';
import { ext4Xattrs, inlineDataName, rawAttributes } from './ext4-attributes.ts';
import { type BlockRun, blockRuns } from './ext4-blocks.ts';
import { folderNames } from './ext4-folders.ts';
import { type Ext4Inode, inlineContent, inodeFlags, readInode, rootInode } from './ext4-inode.ts';
import { type Ext4Volume, openVolume } from './ext4-volume.ts';
import { badImage, overLimit } from './faults.ts';
import type { Limits } from './limits.ts';
import { MetadataBudget } from './metadata-budget.ts';
import { childOf } from './order.ts';
import type { OpenOptions } from './readers.ts';
import { arrangeEntries, type Tree } from './tree.ts';

/** Where the content of a file lies: runs of blocks, or bytes kept inside the inode. */
type Content = BlockRun[] | Buffer;

/**
 * Opens an ext2, ext3 or ext4 image as a tree, without the kernel. An empty lost+found in the root
 * belongs to the file system, not to the tree, and is left out.
 * @throws PersonaError 'bad-image' or 'limit-exceeded'.
 */
export async function openExt4(fd: number, options: OpenOptions): Promise<Tree> {
  return ext4Tree(fileSource(fd, options.offset ?? 0, options.size), options.limits);
}

/** The same over any source of bytes. */
export function ext4Tree(source: ByteSource, limits: Limits): Tree {
  const volume = openVolume(source);
  const walk = new Walk(volume, limits);
  walk.run();
  const { content } = walk;
  const entries = arrangeEntries(walk.entries);
  const read = (entry: Entry) => contentBytes(volume, entry, content.get(entry));
  return { entries, read, close: async () => {} };
}

/** File types of a mode. */
const types: Record<number, Entry['type']> = {
  4096: 'fifo',
  8192: 'char',
  16384: 'dir',
  24576: 'block',
  32768: 'file',
  40960: 'symlink',
  49152: 'socket',
};

class Walk {
  readonly entries: Entry[] = [];
  readonly content = new Map<Entry, Content>();
  private readonly firstNames = new Map<number, Entry>();
  private dataBytes = 0;
  private readonly budget: MetadataBudget;
  private readonly volume: Ext4Volume;
  private readonly limits: Limits;

  constructor(volume: Ext4Volume, limits: Limits) {
    this.volume = volume;
    this.limits = limits;
    this.budget = new MetadataBudget(limits);
  }

  /** Visits every folder once, from the root down. */
  run(): void {
    const visited = new Set([rootInode]);
    const todo: [path: string, inode: Ext4Inode][] = [];
    const enter = (path: string, number: number): void => {
      const known = this.firstNames.get(number);
      if (known !== undefined) {
        this.add({ ...hardLink, path, target: known.path });
        return;
      }
      const inode = readInode(this.volume, number);
      const entry = this.entryOf(path, inode);
      this.add(entry);
      if (entry.type !== 'dir') {
        this.firstNames.set(number, entry);
        return;
      }
      if (path !== '' && visited.has(number))
        throw badImage(`the ext4 folder ${number} is its own parent`);
      visited.add(number);
      todo.push([path, inode]);
    };
    enter('', rootInode);
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      const [path, folder] = next;
      for (const { name, number } of folderNames(this.volume, folder, this.limits)) {
        if (path === '' && name === 'lost+found' && this.isEmpty(number)) continue;
        enter(childOf(path, name), number);
      }
    }
    if (this.entries[0]?.type !== 'dir') throw badImage('the ext4 root is no folder');
  }

  private isEmpty(number: number): boolean {
    const inode = readInode(this.volume, number);
    if ((inode.mode & 0xf000) !== 0x4000) return false;
    return folderNames(this.volume, inode, this.limits).next().done === true;
  }

  private add(entry: Entry): void {
    this.budget.count(entry.path, entry);
    this.entries.push(checkEntry(entry, this.limits));
  }

  private entryOf(path: string, inode: Ext4Inode): Entry {
    const type = types[inode.mode & 0xf000];
    if (type === undefined) throw badImage(`the ext4 inode ${inode.number} has an unknown type`);
    if ((inode.flags & inodeFlags.encrypted) !== 0) throw badImage('it holds encrypted files');
    const raw = rawAttributes(this.volume, inode, (holder) => wholeContent(this.volume, holder));
    const entry: Entry = {
      path,
      type,
      mode: type === 'symlink' ? 0o777 : inode.mode & 0o7777,
      uid: inode.uid,
      gid: inode.gid,
      mtime: inode.mtime,
      mtimeNs: inode.mtimeNs,
      xattrs: ext4Xattrs(inode, raw),
    };
    if (type === 'symlink') entry.target = linkTarget(this.volume, inode, raw.get(inlineDataName));
    if (type === 'char' || type === 'block') entry.rdev = deviceOf(inode.map);
    if (type === 'file') this.placeContent(entry, inode, raw.get(inlineDataName));
    return entry;
  }

  private placeContent(entry: Entry, inode: Ext4Inode, tail: Buffer | undefined): void {
    entry.size = inode.size;
    if ((inode.flags & inodeFlags.inlineData) !== 0) {
      const bytes = inlineContent(inode, tail);
      if (bytes.length < inode.size) entry.extents = [[0, bytes.length]];
      this.content.set(entry, bytes);
      return;
    }
    const runs = blockRuns(this.volume, inode, this.limits.extents);
    const extents = extentsOfRuns(runs, this.volume.blockBytes, inode.size);
    for (const [, length] of extents) this.dataBytes += length;
    if (this.dataBytes > this.limits.dataBytes) {
      throw overLimit('the content of all files', `${this.limits.dataBytes} bytes`);
    }
    if (inode.size > 0 && extents[0]?.[1] !== inode.size) entry.extents = extents;
    this.content.set(entry, runs);
  }
}

const hardLink = {
  type: 'hardlink' as const,
  mode: 0,
  uid: 0,
  gid: 0,
  mtime: 0,
  mtimeNs: 0,
  xattrs: [],
};

function extentsOfRuns(
  runs: readonly BlockRun[],
  blockBytes: number,
  size: number,
): [number, number][] {
  const extents: [number, number][] = [];
  for (const { at, count } of runs) {
    const offset = at * blockBytes;
    const length = Math.min(count * blockBytes, size - offset);
    const last = extents.at(-1);
    if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
    else extents.push([offset, length]);
  }
  return extents;
}

function linkTarget(volume: Ext4Volume, inode: Ext4Inode, tail: Buffer | undefined): string {
  if (inode.size > 4095)
    throw badImage(`the ext4 inode ${inode.number} is a link that is too long`);
  if ((inode.flags & inodeFlags.inlineData) !== 0)
    return inlineContent(inode, tail).toString('latin1');
  if (inode.dataSectors === 0 && inode.size < 60)
    return inode.map.toString('latin1', 0, inode.size);
  return wholeContent(volume, inode).toString('latin1');
}

/** The old form in the first word (8 and 8 bits) or the new one in the second (12 and 20). */
function deviceOf(map: Buffer): [number, number] {
  const old = map.readUInt32LE(0);
  if (old !== 0) return [(old >> 8) & 0xff, old & 0xff];
  const wide = map.readUInt32LE(4);
  return [(wide >>> 8) & 0xfff, (wide & 0xff) | ((wide >>> 12) & 0xfff00)];
}

/** The whole content of a small file (link text, large attribute), holes as zeros. */
function wholeContent(volume: Ext4Volume, inode: Ext4Inode): Buffer {
  if (inode.size > 65536) throw badImage(`the ext4 inode ${inode.number} is too large for its use`);
  const bytes = Buffer.alloc(inode.size);
  for (const { at, block, count } of blockRuns(volume, inode, 65536)) {
    const start = at * volume.blockBytes;
    const length = Math.min(count * volume.blockBytes, inode.size - start);
    volume.source.read(block * volume.blockBytes, length).copy(bytes, start);
  }
  return bytes;
}

async function* contentBytes(
  volume: Ext4Volume,
  entry: Entry,
  content: Content | undefined,
): AsyncGenerator<Buffer> {
  if (content === undefined) return;
  if (Buffer.isBuffer(content)) {
    yield* sourceBytes(bufferSource(content));
    return;
  }
  const { blockBytes, source } = volume;
  const size = entry.size ?? 0;
  for (const { at, block, count } of content) {
    const length = Math.min(count * blockBytes, size - at * blockBytes);
    for (let done = 0; done < length; done += pieceBytes) {
      yield source.read(block * blockBytes + done, Math.min(pieceBytes, length - done));
    }
  }
}
