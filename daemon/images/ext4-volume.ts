import { type ByteSource, cachedSource } from './byte-source.ts';
import { badImage } from './faults.ts';

/** An ext2, ext3 or ext4 file system, opened for reading without the kernel. */
export interface Ext4Volume {
  source: ByteSource;
  blockBytes: number;
  blocks: number;
  inodes: number;
  inodeBytes: number;
  inodesPerGroup: number;
  /** Folders may be larger than 2 GiB. */
  largeFolders: boolean;
  /** Block-map tables that may still be read, over all files. */
  tablesLeft: number;
  /** Position of the inode table of a group, in bytes. */
  inodeTable(group: number): number;
}

/** Bits of s_feature_incompat (fs/ext4/ext4.h). */
const incompat = {
  filetype: 0x2,
  recover: 0x4,
  journalDevice: 0x8,
  metaBlockGroups: 0x10,
  extents: 0x40,
  wide: 0x80,
  multiMount: 0x100,
  flexGroups: 0x200,
  attributeInodes: 0x400,
  checksumSeed: 0x2000,
  largeFolders: 0x4000,
  inlineData: 0x8000,
  encryption: 0x10000,
  caseFolding: 0x20000,
} as const;

const readable = Object.values(incompat).reduce((all, bit) => all | bit, 0);
const sparseSuper2 = 0x200;
const sparseSuper = 0x1;

/**
 * Reads the superblock.
 * @throws PersonaError 'bad-image' for damage, for unknown features, and for a file system that was
 *   not unmounted cleanly (its journal would have to be replayed).
 */
export function openVolume(image: ByteSource): Ext4Volume {
  if (image.size < 2048) throw badImage('it is too small for an ext4 file system');
  const block = image.read(1024, 1024);
  if (block.readUInt16LE(0x38) !== 0xef53) throw badImage('it has no ext4 superblock');
  const revised = block.readUInt32LE(0x4c) > 0;
  const features = revised ? block.readUInt32LE(0x60) : 0;
  checkFeatures(features);
  const logBlock = block.readUInt32LE(0x18);
  if (logBlock > 6) throw badImage('its ext4 block size is out of range');
  const blockBytes = 1024 << logBlock;
  const wide = (features & incompat.wide) !== 0;
  const blocks = block.readUInt32LE(4) + (wide ? block.readUInt32LE(0x150) * 2 ** 32 : 0);
  const geometry = {
    blockBytes,
    blocks,
    inodes: block.readUInt32LE(0),
    inodeBytes: revised ? block.readUInt16LE(0x58) : 128,
    inodesPerGroup: block.readUInt32LE(0x28),
  };
  const descriptorBytes = wide ? block.readUInt16LE(0xfe) : 32;
  checkGeometry(image, geometry, descriptorBytes);
  const source = cachedSource(image);
  const inodeTable = inodeTables(source, geometry, {
    descriptorBytes,
    firstBlock: block.readUInt32LE(0x14),
    blocksPerGroup: block.readUInt32LE(0x20),
    firstMetaGroup: (features & incompat.metaBlockGroups) !== 0 ? block.readUInt32LE(0x104) : -1,
    compat: block.readUInt32LE(0x5c),
    readOnlyCompat: block.readUInt32LE(0x64),
  });
  return {
    source,
    ...geometry,
    largeFolders: (features & incompat.largeFolders) !== 0,
    // Some few are read twice (lost+found, large attributes).
    tablesLeft: 2 * blocks,
    inodeTable,
  };
}

function checkFeatures(features: number): void {
  if ((features & incompat.recover) !== 0) {
    const error = badImage('the ext4 file system was not unmounted cleanly, its journal is needed');
    error.hint = 'Run `e2fsck -f IMAGE` on it (or mount and unmount it) once, then try again.';
    throw error;
  }
  if ((features & incompat.journalDevice) !== 0)
    throw badImage('it is only the journal of an ext4');
  const unknown = features & ~readable;
  if (unknown !== 0) {
    throw badImage(
      `the ext4 file system uses features unknown here (0x${(unknown >>> 0).toString(16)})`,
    );
  }
}

interface Geometry {
  blockBytes: number;
  blocks: number;
  inodes: number;
  inodeBytes: number;
  inodesPerGroup: number;
}

function checkGeometry(image: ByteSource, geometry: Geometry, descriptorBytes: number): void {
  const { blockBytes, blocks, inodes, inodeBytes, inodesPerGroup } = geometry;
  const powers = [inodeBytes, descriptorBytes].every((n) => n > 0 && (n & (n - 1)) === 0);
  if (!powers || inodeBytes < 128 || inodeBytes > blockBytes || inodesPerGroup === 0) {
    throw badImage('its ext4 superblock is damaged');
  }
  if (descriptorBytes < 32 || descriptorBytes > blockBytes || inodes === 0) {
    throw badImage('its ext4 superblock is damaged');
  }
  if (blocks * blockBytes > image.size) {
    throw badImage(`it is cut off: ${image.size} bytes of an ext4 of ${blocks * blockBytes}`);
  }
}

interface Groups {
  descriptorBytes: number;
  firstBlock: number;
  blocksPerGroup: number;
  /** -1: all descriptors lie together after the superblock. */
  firstMetaGroup: number;
  compat: number;
  readOnlyCompat: number;
}

function inodeTables(
  source: ByteSource,
  geometry: Geometry,
  groups: Groups,
): Ext4Volume['inodeTable'] {
  const { blockBytes, blocks } = geometry;
  const { descriptorBytes, firstBlock, blocksPerGroup, firstMetaGroup } = groups;
  if (blocksPerGroup === 0) throw badImage('its ext4 superblock is damaged');
  if (firstMetaGroup >= 0 && (groups.compat & sparseSuper2) !== 0) {
    throw badImage('the ext4 file system combines meta_bg with sparse_super2, not supported');
  }
  const perBlock = blockBytes / descriptorBytes;
  return (group) => {
    const index = Math.floor(group / perBlock);
    // The superblock lies at byte 1024: in block 1 of 1 KiB blocks, else in block 0.
    const superBlock = blockBytes === 1024 ? 1 : 0;
    let block = superBlock + 1 + index;
    if (firstMetaGroup >= 0 && index >= firstMetaGroup) {
      const first = index * perBlock;
      const backup = (groups.readOnlyCompat & sparseSuper) === 0 || holdsBackup(first);
      const shift = index === 0 ? superBlock - firstBlock : 0;
      block = firstBlock + shift + first * blocksPerGroup + (backup ? 1 : 0);
    }
    if (block >= blocks) throw badImage('its ext4 group descriptors lie outside');
    const at = block * blockBytes + (group % perBlock) * descriptorBytes;
    const descriptor = source.read(at, descriptorBytes);
    const high = descriptorBytes >= 64 ? descriptor.readUInt32LE(0x28) : 0;
    return (descriptor.readUInt32LE(8) + high * 2 ** 32) * blockBytes;
  };
}

/** Groups 0, 1 and the powers of 3, 5 and 7 carry a copy of the superblock. */
function holdsBackup(group: number): boolean {
  if (group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

/** One block. @throws PersonaError 'bad-image' when there is no such block. */
export function readBlock(volume: Ext4Volume, block: number): Buffer {
  if (block <= 0 || block >= volume.blocks) throw badImage(`an ext4 block ${block} lies outside`);
  return volume.source.read(block * volume.blockBytes, volume.blockBytes);
}
