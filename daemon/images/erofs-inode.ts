import type { Entry, EntryType } from './entry.ts';
import {
  compactInodeBytes,
  extendedInodeBytes,
  layouts,
  slotBytes,
  typeOfMode,
  xattrHeaderBytes,
  xattrPrefixes,
} from './erofs-format.ts';
import { type ErofsImage, unsupported } from './erofs-image.ts';
import { badImage } from './faults.ts';
import { compareBytes } from './order.ts';

/** One inode as it stands in an image. */
export interface Inode {
  nid: number;
  type: Exclude<EntryType, 'hardlink'>;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  mtimeNs: number;
  size: number;
  layout: number;
  /** i_u: first data block, packed device number, or chunk format. */
  word: number;
  /** Where the attributes begin, and their length in bytes. */
  xattrAt: number;
  xattrBytes: number;
  /** Where an inline tail or a chunk map begins. */
  bodyAt: number;
}

/**
 * Reads the inode with number `nid`. @throws PersonaError 'bad-image' for one that cannot be, and
 * 'not-supported' for a compressed file.
 */
export function readInode(image: ErofsImage, nid: number): Inode {
  const at = image.metaStart + nid * slotBytes;
  const format = image.read(at, compactInodeBytes).readUInt16LE(0);
  const extended = (format & 1) === 1;
  const layout = (format >> 1) & 7;
  if (format >> 4 !== 0) throw unsupported('a newer kind of inode');
  if (layout === layouts.compressedFull || layout === layouts.compressedCompact) {
    throw unsupported('compressed files');
  }
  if (layout > layouts.chunks) throw badImage(`inode ${nid} has an unknown layout`);
  const length = extended ? extendedInodeBytes : compactInodeBytes;
  const bytes = image.read(at, length);
  const mode = bytes.readUInt16LE(4);
  const type = typeOfMode(mode);
  if (type === undefined) throw badImage(`inode ${nid} has no type`);
  const count = bytes.readUInt16LE(2);
  const xattrBytes = count === 0 ? 0 : xattrHeaderBytes + (count - 1) * 4;
  const size = extended ? toNumber(bytes.readBigUInt64LE(8)) : bytes.readUInt32LE(8);
  return {
    nid,
    type,
    mode: type === 'symlink' ? 0o777 : mode & 0o7777,
    uid: extended ? bytes.readUInt32LE(24) : bytes.readUInt16LE(24),
    gid: extended ? bytes.readUInt32LE(28) : bytes.readUInt16LE(26),
    mtime: extended ? toNumber(bytes.readBigInt64LE(32)) : image.buildTime,
    mtimeNs: extended ? bytes.readUInt32LE(40) : image.buildTimeNs,
    size,
    layout,
    word: bytes.readUInt32LE(16),
    xattrAt: at + length,
    xattrBytes,
    bodyAt: at + length + xattrBytes,
  };
}

function toNumber(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw badImage('a size or time in it is out of range');
  return number;
}

/** The attributes of an inode, inline and shared ones, sorted by name. */
export function readXattrs(image: ErofsImage, inode: Inode): Entry['xattrs'] {
  if (inode.xattrBytes === 0) return [];
  const area = image.read(inode.xattrAt, inode.xattrBytes);
  const shared = area.readUInt8(4);
  let at = xattrHeaderBytes + shared * 4;
  if (at > area.length) throw badImage(`inode ${inode.nid} has more attributes than room for them`);
  const found: Entry['xattrs'] = [];
  for (let i = 0; i < shared; i++) {
    const position = image.xattrStart + area.readUInt32LE(xattrHeaderBytes + i * 4) * 4;
    const header = image.read(position, 4);
    found.push(decodeXattr(image.read(position, 4 + header.readUInt8(0) + header.readUInt16LE(2))));
  }
  while (at < area.length) {
    if (at + 4 > area.length) throw badImage(`inode ${inode.nid} has a broken attribute`);
    const end = at + 4 + area.readUInt8(at) + area.readUInt16LE(at + 2);
    if (end > area.length) throw badImage(`inode ${inode.nid} has an attribute beyond its area`);
    found.push(decodeXattr(area.subarray(at, end)));
    at = Math.ceil(end / 4) * 4;
  }
  return found.sort((a, b) => compareBytes(a[0], b[0]));
}

const prefixes = new Map(xattrPrefixes);

function decodeXattr(bytes: Buffer): [name: string, value: string] {
  const prefix = prefixes.get(bytes.readUInt8(1));
  if (prefix === undefined) throw unsupported('attributes of an unknown name space');
  const nameEnd = 4 + bytes.readUInt8(0);
  return [prefix + bytes.toString('latin1', 4, nameEnd), bytes.toString('latin1', nameEnd)];
}
