import { type Ext4Inode, inodeFlags } from './ext4-inode.ts';
import { type Ext4Volume, readBlock } from './ext4-volume.ts';
import { badImage, overLimit } from './faults.ts';

/** A run of blocks of a file, all counts in blocks. Runs come sorted and do not overlap. */
export interface BlockRun {
  /** First block inside the file. */
  at: number;
  /** First block on the volume. */
  block: number;
  count: number;
}

const extentMagic = 0xf30a;
/** From this length on an extent is allocated but unwritten: it reads as a hole. */
const unwrittenFrom = 32768;
/** Depth of an extent tree (the kernel's EXT4_MAX_EXTENT_DEPTH). */
const extentDepthMax = 5;

/**
 * The runs of written blocks of an inode, by extents or by the old block map.
 * @throws PersonaError 'bad-image' when the map is damaged, 'limit-exceeded' over `runsMax` runs.
 */
export function blockRuns(volume: Ext4Volume, inode: Ext4Inode, runsMax: number): BlockRun[] {
  const runs = new Runs(volume, inode, runsMax);
  if ((inode.flags & inodeFlags.extents) !== 0) extentRuns(volume, inode, runs);
  else mappedRuns(volume, inode, runs);
  return runs.list;
}

/** Collects runs: joins what touches and keeps every map from growing past the volume. */
class Runs {
  readonly list: BlockRun[] = [];
  private blocks = 0;
  private end = 0;
  private readonly volume: Ext4Volume;
  private readonly inode: Ext4Inode;
  private readonly runsMax: number;

  constructor(volume: Ext4Volume, inode: Ext4Inode, runsMax: number) {
    this.volume = volume;
    this.inode = inode;
    this.runsMax = runsMax;
  }

  add(at: number, block: number, count: number): void {
    if (at < this.end || block <= 0 || block + count > this.volume.blocks) this.damaged();
    this.end = at + count;
    this.blocks += count;
    if (this.blocks > this.volume.blocks) this.damaged();
    const last = this.list.at(-1);
    if (last !== undefined && last.at + last.count === at && last.block + last.count === block) {
      last.count += count;
      return;
    }
    this.list.push({ at, block, count });
    if (this.list.length > this.runsMax) throw overLimit('the pieces of one file', this.runsMax);
  }

  table(block: number): Buffer {
    // Each table belongs to one file, so that all have no more than there are blocks: circles would.
    if (--this.volume.tablesLeft < 0) this.damaged();
    return readBlock(this.volume, block);
  }

  damaged(): never {
    throw badImage(`the ext4 inode ${this.inode.number} has a damaged block map`);
  }
}

function extentRuns(volume: Ext4Volume, inode: Ext4Inode, runs: Runs): void {
  const visit = (node: Buffer, depthWanted: number | undefined): void => {
    if (node.readUInt16LE(0) !== extentMagic) runs.damaged();
    const count = node.readUInt16LE(2);
    const depth = node.readUInt16LE(6);
    if (12 + 12 * count > node.length || depth > extentDepthMax) runs.damaged();
    if (depthWanted !== undefined && depth !== depthWanted) runs.damaged();
    for (let i = 0; i < count; i++) {
      const at = 12 + 12 * i;
      if (depth > 0) {
        const child = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
        visit(runs.table(child), depth - 1);
        continue;
      }
      const length = node.readUInt16LE(at + 4);
      const block = node.readUInt32LE(at + 8) + node.readUInt16LE(at + 6) * 2 ** 32;
      if (length === 0) runs.damaged();
      if (length <= unwrittenFrom) runs.add(node.readUInt32LE(at), block, length);
    }
  };
  visit(inode.map, undefined);
  // Blocks kept behind the end of the file stay behind.
  const end = Math.ceil(inode.size / volume.blockBytes);
  cut(runs.list, end);
}

function mappedRuns(volume: Ext4Volume, inode: Ext4Inode, runs: Runs): void {
  const perTable = volume.blockBytes / 4;
  const end = Math.ceil(inode.size / volume.blockBytes);
  let at = 0;
  const visit = (block: number, depth: number): void => {
    const span = perTable ** depth;
    if (block === 0 || at >= end) {
      at += span;
      return;
    }
    if (depth === 0) {
      runs.add(at, block, 1);
      at += 1;
      return;
    }
    const table = runs.table(block);
    for (let i = 0; i < perTable; i++) visit(table.readUInt32LE(4 * i), depth - 1);
  };
  for (let i = 0; i < 15; i++) visit(inode.map.readUInt32LE(4 * i), Math.max(0, i - 11));
}

function cut(runs: BlockRun[], end: number): void {
  for (let last = runs.at(-1); last !== undefined; last = runs.at(-1)) {
    if (last.at + last.count <= end) return;
    if (last.at < end) {
      last.count = end - last.at;
      return;
    }
    runs.pop();
  }
}
