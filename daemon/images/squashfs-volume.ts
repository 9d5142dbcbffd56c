import type { ByteSource } from './byte-source.ts';
import { badImage, overLimit } from './faults.ts';
import { type Codec, codecOf } from './squashfs-codec.ts';

/** Metadata comes in blocks of at most this many bytes, each packed on its own. */
const metadataBytes = 8192;
const superblockBytes = 96;
/** Unpacked metadata blocks kept: 4 MiB. */
const metadataCached = 512;
/** Unpacked fragment blocks kept: at most 8 MiB of the largest kind. */
const fragmentsCached = 8;
/** Content blocks of all files together: 2 TiB of the usual 128 KiB. */
const blocksMax = 16 * 1024 * 1024;
/** Pointer of a table that is not there. */
const absent = 0xffff_ffff_ffff_ffffn;

/** Where a compressed block of content lies; a size of 0 stands for a hole. */
export interface PackedBlock {
  at: number;
  size: number;
  packed: boolean;
}

/** A squashfs image (version 4), opened for reading without the kernel. */
export class SquashfsVolume {
  readonly blockBytes: number;
  readonly inodes: number;
  readonly rootRef: bigint;
  readonly inodeTable: number;
  readonly folderTable: number;
  private readonly idCount: number;
  private readonly idTable: number;
  private readonly fragments: number;
  private readonly fragmentTable: number;
  private readonly xattrTable: number | undefined;
  private readonly source: ByteSource;
  private readonly codec: Codec;
  private blocksLeft = blocksMax;
  private readonly metadata = new Map<number, { bytes: Buffer; next: number }>();
  private readonly fragmentBlocks = new Map<number, Buffer>();

  /** @throws PersonaError 'bad-image' or 'not-supported'. */
  constructor(source: ByteSource) {
    if (source.size < superblockBytes) throw badImage('it is too small for a squashfs');
    const block = source.read(0, superblockBytes);
    if (block.readUInt16LE(28) !== 4) throw badImage('it is a squashfs of another version than 4');
    this.source = source;
    this.inodes = block.readUInt32LE(4);
    this.blockBytes = block.readUInt32LE(12);
    if (this.blockBytes < 4096 || this.blockBytes > 1 << 20 || !isPower(this.blockBytes)) {
      throw badImage('its squashfs superblock is damaged');
    }
    this.fragments = block.readUInt32LE(16);
    this.idCount = block.readUInt16LE(26);
    this.rootRef = block.readBigUInt64LE(32);
    const used = Number(block.readBigUInt64LE(40));
    if (!(used <= source.size)) throw badImage(`it is cut off: ${source.size} bytes of ${used}`);
    this.idTable = this.place(block, 48);
    this.xattrTable = block.readBigUInt64LE(56) === absent ? undefined : this.place(block, 56);
    this.inodeTable = this.place(block, 64);
    this.folderTable = this.place(block, 72);
    this.fragmentTable = this.fragments === 0 ? 0 : this.place(block, 80);
    this.codec = codecOf(block.readUInt16LE(20));
  }

  /** A reader of the metadata stream from `block` (absolute) and `offset` inside it on. */
  stream(block: number, offset: number): MetadataStream {
    return new MetadataStream((at) => this.metadataBlock(at), block, offset);
  }

  /** The owner number at an index of the table of owners. */
  owner(index: number): number {
    if (index >= this.idCount) throw badImage('the squashfs has an owner out of range');
    return this.tableStream(this.idTable, index, 4).take(4).readUInt32LE(0);
  }

  /** The attributes at an index: where they begin, and how many they are. */
  xattrsAt(index: number): { table: number; ref: bigint; count: number } {
    if (this.xattrTable === undefined) throw badImage('the squashfs lacks its attributes');
    const header = this.read(this.xattrTable, 16);
    if (index >= header.readUInt32LE(8)) throw badImage('the squashfs has attributes out of range');
    const entry = this.tableStream(this.xattrTable + 16, index, 16).take(16);
    const table = Number(header.readBigUInt64LE(0));
    return { table, ref: entry.readBigUInt64LE(0), count: entry.readUInt32LE(8) };
  }

  /** Counts the blocks of one more file. @throws PersonaError 'limit-exceeded'. */
  takeBlocks(count: number): void {
    this.blocksLeft -= count;
    if (this.blocksLeft < 0) throw overLimit('the content blocks of a squashfs', blocksMax);
  }

  /** One block of content, unpacked: at most `most` bytes. */
  content({ at, size, packed }: PackedBlock, most: number): Buffer {
    const bytes = this.read(at, size);
    return packed ? this.codec(bytes, most) : bytes;
  }

  /** An unpacked block of tails that files share. */
  fragment(index: number): Buffer {
    const cached = this.fragmentBlocks.get(index);
    if (cached !== undefined) return cached;
    if (index >= this.fragments) throw badImage('the squashfs has a fragment out of range');
    const entry = this.tableStream(this.fragmentTable, index, 16).take(16);
    const at = Number(entry.readBigUInt64LE(0));
    const bytes = this.content(packedBlock(at, entry.readUInt32LE(8)), this.blockBytes);
    keep(this.fragmentBlocks, index, bytes, fragmentsCached);
    return bytes;
  }

  /** Tables are lists of pointers to metadata blocks that hold the rows. */
  private tableStream(table: number, index: number, rowBytes: number): MetadataStream {
    const perBlock = metadataBytes / rowBytes;
    const pointer = this.read(table + 8 * Math.floor(index / perBlock), 8);
    return this.stream(Number(pointer.readBigUInt64LE(0)), (index % perBlock) * rowBytes);
  }

  private metadataBlock(at: number): { bytes: Buffer; next: number } {
    const cached = this.metadata.get(at);
    if (cached !== undefined) return cached;
    const header = this.read(at, 2).readUInt16LE(0);
    const size = header & 0x7fff;
    const raw = this.read(at + 2, size);
    const bytes = header & 0x8000 ? raw : this.codec(raw, metadataBytes);
    const block = { bytes, next: at + 2 + size };
    keep(this.metadata, at, block, metadataCached);
    return block;
  }

  private place(block: Buffer, at: number): number {
    const place = Number(block.readBigUInt64LE(at));
    if (!(place >= superblockBytes && place < this.source.size)) {
      throw badImage('its squashfs superblock is damaged');
    }
    return place;
  }

  private read(at: number, size: number): Buffer {
    if (!(at >= 0 && at + size <= this.source.size)) throw badImage('the squashfs points outside');
    return this.source.read(at, size);
  }
}

/** The size word of a content block: bit 24 says that it is stored as it is. */
export function packedBlock(at: number, word: number): PackedBlock {
  return { at, size: word & 0xffffff, packed: (word & 0x1000000) === 0 };
}

/** Reads on over the ends of metadata blocks. */
export class MetadataStream {
  private readonly load: (at: number) => { bytes: Buffer; next: number };
  private block: number;
  private offset: number;

  constructor(
    load: (at: number) => { bytes: Buffer; next: number },
    block: number,
    offset: number,
  ) {
    this.load = load;
    this.block = block;
    this.offset = offset;
  }

  /** The next `count` bytes. @throws PersonaError 'bad-image'. */
  take(count: number): Buffer {
    const parts: Buffer[] = [];
    for (let left = count; left > 0; ) {
      const { bytes, next } = this.load(this.block);
      if (this.offset > bytes.length || bytes.length === 0)
        throw badImage('the squashfs is damaged');
      const part = bytes.subarray(this.offset, this.offset + left);
      parts.push(part);
      left -= part.length;
      this.offset += part.length;
      if (left === 0) break;
      this.block = next;
      this.offset = 0;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}

function keep<V>(map: Map<number, V>, key: number, value: V, most: number): void {
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value as number);
}

function isPower(value: number): boolean {
  return (value & (value - 1)) === 0;
}
