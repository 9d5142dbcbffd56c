import type { Ext4Volume } from './ext4-volume.ts';
import { badImage } from './faults.ts';

/** One inode, decoded; its block map and attributes are still raw. */
export interface Ext4Inode {
  number: number;
  /** With the type bits of S_IFMT. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  mtimeNs: number;
  flags: number;
  /** 512-byte sectors in use, its attribute block not counted. */
  dataSectors: number;
  /** The 60 bytes of the block map: extents, pointers, a short link text or inline data. */
  map: Buffer;
  /** Block of further attributes, 0 when there is none. */
  attributeBlock: number;
  /** Room for attributes inside the inode. */
  attributeArea: Buffer;
}

/** Bits of i_flags. */
export const inodeFlags = {
  encrypted: 0x800,
  hugeFile: 0x40000,
  extents: 0x80000,
  inlineData: 0x10000000,
} as const;

/** The root folder is always inode 2. */
export const rootInode = 2;

/**
 * Reads one inode.
 * @throws PersonaError 'bad-image' when there is no such inode, or it is not in use.
 */
export function readInode(volume: Ext4Volume, number: number): Ext4Inode {
  if (number < 1 || number > volume.inodes) throw badImage(`there is no ext4 inode ${number}`);
  const { inodeBytes, inodesPerGroup } = volume;
  const table = volume.inodeTable(Math.floor((number - 1) / inodesPerGroup));
  const at = table + ((number - 1) % inodesPerGroup) * inodeBytes;
  if (at + inodeBytes > volume.blocks * volume.blockBytes) {
    throw badImage(`the ext4 inode ${number} lies outside`);
  }
  const raw = volume.source.read(at, inodeBytes);
  const mode = raw.readUInt16LE(0);
  if (mode === 0 || raw.readUInt16LE(0x1a) === 0)
    throw badImage(`the ext4 inode ${number} is free`);
  const extra = inodeBytes > 128 ? raw.readUInt16LE(0x80) : 0;
  if (extra % 4 !== 0 || 128 + extra > inodeBytes)
    throw badImage(`the ext4 inode ${number} is damaged`);
  const flags = raw.readUInt32LE(0x20);
  const attributeBlock = raw.readUInt32LE(0x68) + raw.readUInt16LE(0x76) * 2 ** 32;
  const wideSize = (mode & 0xf000) === 0x8000 || volume.largeFolders;
  return {
    number,
    mode,
    uid: raw.readUInt16LE(2) + raw.readUInt16LE(0x78) * 65536,
    gid: raw.readUInt16LE(0x18) + raw.readUInt16LE(0x7a) * 65536,
    size: raw.readUInt32LE(4) + (wideSize ? raw.readUInt32LE(0x6c) * 2 ** 32 : 0),
    ...timeOf(raw, extra),
    flags,
    dataSectors: dataSectors(volume, raw, flags, attributeBlock),
    map: raw.subarray(0x28, 0x28 + 60),
    attributeBlock,
    attributeArea: raw.subarray(inodeBytes > 128 ? 128 + extra : inodeBytes),
  };
}

/** 32 signed bits of seconds; where there is room, 2 further bits and the nanoseconds. */
function timeOf(raw: Buffer, extraBytes: number): { mtime: number; mtimeNs: number } {
  const low = raw.readInt32LE(0x10);
  if (extraBytes < 12) return { mtime: low, mtimeNs: 0 };
  const extra = raw.readUInt32LE(0x88);
  return { mtime: low + (extra & 3) * 2 ** 32, mtimeNs: Math.min(extra >>> 2, 999_999_999) };
}

function dataSectors(
  volume: Ext4Volume,
  raw: Buffer,
  flags: number,
  attributeBlock: number,
): number {
  const count = raw.readUInt32LE(0x1c) + raw.readUInt16LE(0x74) * 2 ** 32;
  const perBlock = volume.blockBytes / 512;
  const sectors = (flags & inodeFlags.hugeFile) !== 0 ? count * perBlock : count;
  return sectors - (attributeBlock === 0 ? 0 : perBlock);
}

/**
 * Bytes kept inside the inode: 60 in place of the block map, the rest as an attribute. What a file
 * is longer than that reads as zeros.
 */
export function inlineContent(inode: Ext4Inode, tail: Buffer | undefined): Buffer {
  return Buffer.concat([inode.map, tail ?? Buffer.alloc(0)]).subarray(0, inode.size);
}
