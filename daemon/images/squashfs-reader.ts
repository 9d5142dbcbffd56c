import { type ByteSource, cachedSource, fileSource } from './byte-source.ts';
import type { Entry } from './entry.ts';
import { checkEntry } from './entry-grammar.ts';
import { badImage, overLimit } from './faults.ts';
import type { Limits } from './limits.ts';
import { MetadataBudget } from './metadata-budget.ts';
import { childOf } from './order.ts';
import type { OpenOptions } from './readers.ts';
import { readSquashfsInode, type SquashfsInode } from './squashfs-inode.ts';
import { packedBlock, SquashfsVolume } from './squashfs-volume.ts';
import { arrangeEntries, type Tree } from './tree.ts';

/** Opens the squashfs image in `fd`. Errors as `squashfsTree`. */
export async function openSquashfs(fd: number, options: OpenOptions): Promise<Tree> {
  return squashfsTree(fileSource(fd, options.offset ?? 0, options.size), options.limits);
}

/**
 * Opens a squashfs image (version 4; gzip, zstd, lz4, and xz through the tool of that name) as a
 * tree, without the kernel.
 * @throws PersonaError 'bad-image', 'limit-exceeded', 'not-supported' or 'tool-missing'.
 */
export function squashfsTree(source: ByteSource, limits: Limits): Tree {
  const volume = new SquashfsVolume(cachedSource(source));
  const walk = new Walk(volume, limits);
  walk.run();
  const entries = arrangeEntries(walk.entries);
  const { files } = walk;
  const read = (entry: Entry) => contentBytes(volume, entry, files.get(entry));
  return { entries, read, close: async () => {} };
}

type FileBlocks = NonNullable<SquashfsInode['blocks']>;

class Walk {
  readonly entries: Entry[] = [];
  readonly files = new Map<Entry, FileBlocks>();
  private readonly firstNames = new Map<number, Entry>();
  private readonly budget: MetadataBudget;
  private dataBytes = 0;
  private readonly volume: SquashfsVolume;
  private readonly limits: Limits;

  constructor(volume: SquashfsVolume, limits: Limits) {
    this.volume = volume;
    this.limits = limits;
    this.budget = new MetadataBudget(limits);
  }

  run(): void {
    const folders = new Set<number>();
    const todo: [path: string, inode: SquashfsInode][] = [];
    const enter = (path: string, ref: bigint): void => {
      const inode = readSquashfsInode(this.volume, ref, this.limits.fileBytes);
      const known = this.firstNames.get(inode.number);
      if (known !== undefined && inode.listing === undefined) {
        this.add({ ...emptyMetadata, path, type: 'hardlink', target: known.path });
        return;
      }
      const entry: Entry = { path, ...inode.entry };
      if (inode.blocks !== undefined) this.placeContent(entry, inode.blocks);
      this.add(entry);
      if (inode.listing === undefined) {
        this.firstNames.set(inode.number, entry);
        return;
      }
      if (folders.has(inode.number)) throw badImage('a squashfs folder stands in two places');
      folders.add(inode.number);
      todo.push([path, inode]);
    };
    enter('', this.volume.rootRef);
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      for (const { name, ref } of folderNames(this.volume, next[1])) {
        enter(childOf(next[0], name), ref);
      }
    }
  }

  private add(entry: Entry): void {
    this.budget.count(entry.path, entry);
    this.entries.push(checkEntry(entry, this.limits));
  }

  private placeContent(entry: Entry, blocks: FileBlocks): void {
    const { blockBytes } = this.volume;
    const size = entry.size ?? 0;
    const extents: [number, number][] = [];
    const add = (offset: number, length: number): void => {
      const last = extents.at(-1);
      this.dataBytes += length;
      if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
      else extents.push([offset, length]);
    };
    blocks.words.forEach((word, i) => {
      const offset = i * blockBytes;
      if (packedBlock(0, word).size > 0) add(offset, Math.min(blockBytes, size - offset));
    });
    const tail = blocks.words.length * blockBytes;
    if (blocks.fragment !== undefined && size > tail) add(tail, size - tail);
    if (this.dataBytes > this.limits.dataBytes) {
      throw overLimit('the content of all files', `${this.limits.dataBytes} bytes`);
    }
    if (size > 0 && extents[0]?.[1] !== size) entry.extents = extents;
    this.files.set(entry, blocks);
  }
}

const emptyMetadata = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };

/** The listed size counts '.' and '..' as three bytes that are not there. */
const listingExtra = 3;

function* folderNames(
  volume: SquashfsVolume,
  { listing }: SquashfsInode,
): Generator<{ name: string; ref: bigint }> {
  if (listing === undefined) throw badImage('the squashfs root is no folder');
  const stream = volume.stream(volume.folderTable + listing.block, listing.offset);
  for (let left = listing.size - listingExtra; left > 0; ) {
    const head = stream.take(12);
    const count = head.readUInt32LE(0) + 1;
    const block = BigInt(head.readUInt32LE(4)) << 16n;
    left -= 12;
    for (let i = 0; i < count; i++) {
      const row = stream.take(8);
      const name = stream.take(row.readUInt16LE(6) + 1).toString('latin1');
      left -= 8 + name.length;
      if (left < 0 || /[/\0]/.test(name)) throw badImage('a squashfs folder is damaged');
      yield { name, ref: block | BigInt(row.readUInt16LE(0)) };
    }
  }
}

async function* contentBytes(
  volume: SquashfsVolume,
  entry: Entry,
  blocks: FileBlocks | undefined,
): AsyncGenerator<Buffer> {
  if (blocks === undefined) return;
  const size = entry.size ?? 0;
  let at = blocks.start;
  let offset = 0;
  for (const word of blocks.words) {
    const block = packedBlock(at, word);
    const wanted = Math.min(volume.blockBytes, size - offset);
    if (block.size > 0) yield exactly(volume.content(block, volume.blockBytes), wanted);
    at += block.size;
    offset += volume.blockBytes;
  }
  if (blocks.fragment === undefined || offset >= size) return;
  const { index, offset: start } = blocks.fragment;
  yield exactly(volume.fragment(index).subarray(start), size - offset);
}

/** Blocks come whole, but for the last one of a file. */
function exactly(bytes: Buffer, wanted: number): Buffer {
  if (bytes.length < wanted) throw badImage('the squashfs has a block that is too short');
  return bytes.subarray(0, wanted);
}
