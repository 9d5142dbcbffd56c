import type { Entry } from './entry.ts';
import { isCarriedXattr } from './entry-grammar.ts';
import { badImage } from './faults.ts';
import { targetBytesMax } from './limits.ts';
import { compareBytes } from './order.ts';
import type { MetadataStream, SquashfsVolume } from './squashfs-volume.ts';

/** One inode, decoded. */
export interface SquashfsInode {
  number: number;
  entry: Omit<Entry, 'path'>;
  /** Of a folder: where its names are listed. */
  listing?: { block: number; offset: number; size: number };
  /** Of a file: where its blocks begin, their size words, and its tail in a shared block. */
  blocks?: { start: number; words: number[]; fragment?: { index: number; offset: number } };
}

const noFragment = 0xffffffff;
const noXattrs = 0xffffffff;

const types: Record<number, Entry['type']> = {
  1: 'dir',
  2: 'file',
  3: 'symlink',
  4: 'block',
  5: 'char',
  6: 'fifo',
  7: 'socket',
};

/** The attributes' name spaces by number. */
const prefixes = ['user.', 'trusted.', 'security.'];
/** Set when the value lies elsewhere, shared. */
const elsewhere = 0x100;

/**
 * Reads the inode that a reference (block << 16 | offset) points at.
 * @throws PersonaError 'bad-image'.
 */
export function readSquashfsInode(
  volume: SquashfsVolume,
  ref: bigint,
  fileBytesMax: number,
): SquashfsInode {
  const stream = volume.stream(volume.inodeTable + Number(ref >> 16n), Number(ref & 0xffffn));
  const head = stream.take(16);
  const kind = head.readUInt16LE(0);
  const type = types[kind > 7 ? kind - 7 : kind];
  if (type === undefined) throw badImage('the squashfs has an inode of an unknown type');
  const inode: SquashfsInode = {
    number: head.readUInt32LE(12),
    entry: {
      type,
      mode: type === 'symlink' ? 0o777 : head.readUInt16LE(2) & 0o7777,
      uid: volume.owner(head.readUInt16LE(4)),
      gid: volume.owner(head.readUInt16LE(6)),
      mtime: head.readUInt32LE(8),
      mtimeNs: 0,
      xattrs: [],
    },
  };
  const xattrs = readBody(volume, stream, inode, kind > 7, fileBytesMax);
  if (xattrs !== noXattrs) inode.entry.xattrs = readXattrs(volume, xattrs);
  return inode;
}

/** Fills in what belongs to the type; returns the index of the attributes. */
function readBody(
  volume: SquashfsVolume,
  stream: MetadataStream,
  inode: SquashfsInode,
  extended: boolean,
  fileBytesMax: number,
): number {
  const { entry } = inode;
  const u32 = () => stream.take(4).readUInt32LE(0);
  switch (entry.type) {
    case 'dir':
      return readFolder(stream, inode, extended);
    case 'file':
      return readFile(volume, stream, inode, extended, fileBytesMax);
    case 'symlink': {
      u32();
      const length = u32();
      if (length > targetBytesMax) throw badImage('the squashfs has a link that is too long');
      entry.target = stream.take(length).toString('latin1');
      break;
    }
    case 'char':
    case 'block': {
      u32();
      const device = u32();
      entry.rdev = [(device >>> 8) & 0xfff, (device & 0xff) | ((device >>> 12) & 0xfff00)];
      break;
    }
    default:
      u32();
  }
  return extended ? u32() : noXattrs;
}

function readFolder(stream: MetadataStream, inode: SquashfsInode, extended: boolean): number {
  if (!extended) {
    const body = stream.take(16);
    const size = body.readUInt16LE(8);
    inode.listing = { block: body.readUInt32LE(0), offset: body.readUInt16LE(10), size };
    return noXattrs;
  }
  const body = stream.take(24);
  const size = body.readUInt32LE(4);
  inode.listing = { block: body.readUInt32LE(8), offset: body.readUInt16LE(18), size };
  return body.readUInt32LE(20);
}

function readFile(
  volume: SquashfsVolume,
  stream: MetadataStream,
  inode: SquashfsInode,
  extended: boolean,
  fileBytesMax: number,
): number {
  const body = stream.take(extended ? 40 : 16);
  const start = extended ? Number(body.readBigUInt64LE(0)) : body.readUInt32LE(0);
  const size = extended ? Number(body.readBigUInt64LE(8)) : body.readUInt32LE(12);
  const index = body.readUInt32LE(extended ? 28 : 4);
  const offset = body.readUInt32LE(extended ? 32 : 8);
  if (!Number.isSafeInteger(size) || size > fileBytesMax)
    throw badImage('the squashfs has a file out of range');
  const whole = Math.floor(size / volume.blockBytes);
  const count = index === noFragment ? Math.ceil(size / volume.blockBytes) : whole;
  volume.takeBlocks(count);
  const words: number[] = [];
  for (let i = 0; i < count; i++) words.push(stream.take(4).readUInt32LE(0));
  inode.entry.size = size;
  inode.blocks = { start, words, ...(index !== noFragment && { fragment: { index, offset } }) };
  return extended ? body.readUInt32LE(36) : noXattrs;
}

function readXattrs(volume: SquashfsVolume, index: number): Entry['xattrs'] {
  const { table, ref, count } = volume.xattrsAt(index);
  if (count > 4096) throw badImage('the squashfs has too many attributes at one file');
  const at = (place: bigint) =>
    volume.stream(table + Number(place >> 16n), Number(place & 0xffffn));
  const stream = at(ref);
  const xattrs: Entry['xattrs'] = [];
  for (let i = 0; i < count; i++) {
    const head = stream.take(4);
    const type = head.readUInt16LE(0);
    const rest = stream.take(head.readUInt16LE(2)).toString('latin1');
    let value = takeValue(stream);
    if ((type & elsewhere) !== 0) value = takeValue(at(value.readBigUInt64LE(0)));
    const name = `${prefixes[type & 0xff] ?? ''}${rest}`;
    if (isCarriedXattr(name)) xattrs.push([name, value.toString('latin1')]);
  }
  return xattrs.sort(([a], [b]) => compareBytes(a, b));
}

function takeValue(stream: MetadataStream): Buffer {
  const size = stream.take(4).readUInt32LE(0);
  if (size > 65536) throw badImage('the squashfs has an attribute that is too large');
  return stream.take(size);
}
