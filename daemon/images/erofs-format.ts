import type { EntryType } from './entry.ts';

// The on-disk format of erofs as in the kernel's fs/erofs/erofs_fs.h; everything is little endian.

/** We write 4 KiB blocks only, and read nothing else. */
export const blockBytes = 4096;
export const blockBits = 12;
export const superMagic = 0xe0f5e1e2;
export const superOffset = 1024;
export const superBytes = 128;
/** A node id counts slots of 32 bytes from the start of the metadata area. */
export const slotBytes = 32;
export const compactInodeBytes = 32;
export const extendedInodeBytes = 64;
export const direntBytes = 12;
/** The header before the inline attributes of an inode. */
export const xattrHeaderBytes = 12;

/** feature_compat: the superblock carries a CRC32C; times are those of modification. */
export const compatChecksum = 0x1;
export const compatMtime = 0x2;
/** feature_incompat: some files are chunk-based. */
export const incompatChunked = 0x4;

/** Data layouts: bits 1 to 3 of i_format. 1 and 3 are the compressed ones. */
export const layouts = { plain: 0, compressedFull: 1, inline: 2, compressedCompact: 3, chunks: 4 };
/** A chunk's block address that stands for a hole. */
export const nullBlock = 0xffffffff;
/** i_u of a chunk-based file: low 5 bits are log2(chunk) - 12; this bit selects 8-byte indexes. */
export const chunkIndexes = 0x20;

/** File type bits of i_mode. */
export const typeBits: Record<Exclude<EntryType, 'hardlink'>, number> = {
  fifo: 0o010000,
  char: 0o020000,
  dir: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

/** The type of an i_mode, or undefined for bits that mean nothing. */
export function typeOfMode(mode: number): Exclude<EntryType, 'hardlink'> | undefined {
  const bits = mode & 0o170000;
  for (const [type, value] of Object.entries(typeBits)) {
    if (value === bits) return type as Exclude<EntryType, 'hardlink'>;
  }
  return undefined;
}

const direntTypes = new Map<number, number>([
  [typeBits.file, 1],
  [typeBits.dir, 2],
  [typeBits.char, 3],
  [typeBits.block, 4],
  [typeBits.fifo, 5],
  [typeBits.socket, 6],
  [typeBits.symlink, 7],
]);

/** The type byte of a directory entry for an i_mode. */
export function direntType(mode: number): number {
  return direntTypes.get(mode & 0o170000) ?? 0;
}

/** Attribute name spaces by their index on disk; an empty rest means the whole name. */
export const xattrPrefixes: readonly [index: number, prefix: string][] = [
  [1, 'user.'],
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [4, 'trusted.'],
  [6, 'security.'],
];

/** A device number as the kernel's new_encode_dev packs it. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Major and minor of a packed device number. */
export function decodeDevice(packed: number): [major: number, minor: number] {
  return [(packed >>> 8) & 0xfff, (packed & 0xff) | ((packed >>> 12) & 0xfff00)];
}

/** What we keep of a superblock. Block addresses count blocks; times are seconds. */
export interface Superblock {
  rootNid: number;
  inodes: number;
  blocks: number;
  metaBlock: number;
  xattrBlock: number;
  buildTime: bigint;
  buildTimeNs: number;
  compat: number;
  incompat: number;
  uuid: Buffer;
}

/** The bytes of a superblock with its checksum over the rest of the first block. */
export function encodeSuperblock(sb: Superblock): Buffer {
  const block = Buffer.alloc(blockBytes);
  const at = superOffset;
  block.writeUInt32LE(superMagic, at);
  block.writeUInt32LE(sb.compat, at + 8);
  block.writeUInt8(blockBits, at + 12);
  block.writeUInt16LE(sb.rootNid, at + 14);
  block.writeBigUInt64LE(BigInt(sb.inodes), at + 16);
  block.writeBigUInt64LE(sb.buildTime, at + 24);
  block.writeUInt32LE(sb.buildTimeNs, at + 32);
  block.writeUInt32LE(sb.blocks, at + 36);
  block.writeUInt32LE(sb.metaBlock, at + 40);
  block.writeUInt32LE(sb.xattrBlock, at + 44);
  sb.uuid.copy(block, at + 48, 0, 16);
  block.writeUInt32LE(sb.incompat, at + 80);
  block.writeUInt32LE(crc32c(block.subarray(at)), at + 4);
  return block;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC32C (Castagnoli) that starts from all ones and is not inverted at the end, as erofs has it. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 0xff] as number);
  return crc >>> 0;
}

/** Rounds `bytes` up to a multiple of `unit`. */
export function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
