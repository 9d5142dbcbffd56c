import type { EntryType } from './entry.ts';
import {
  compactInodeBytes,
  extendedInodeBytes,
  layouts,
  slotBytes,
  typeOfMode,
  xattrHeaderBytes,
} from './erofs-format.ts';
import { type ErofsImage, unsupported } from './erofs-image.ts';
import { badImage } from './faults.ts';

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
  /** How many names it says it has. */
  links: number;
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
    links: extended ? bytes.readUInt32LE(44) : bytes.readUInt16LE(6),
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
