import { chunkIndexes, layouts, nullBlock, roundUp } from './erofs-format.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { Inode } from './erofs-inode.ts';
import { badImage, overLimit } from './faults.ts';

/** A stretch of a file: `length` bytes at `offset` of the file lie at `at` in the image. */
export interface Stretch {
  offset: number;
  length: number;
  at: number;
}

/** Chunks looked at in one image: bounds the work when many inodes point at one large map. */
const chunksMax = 64 * 1024 * 1024;

/** Counts chunks over a whole image. */
export interface ChunkBudget {
  used: number;
}

/**
 * Where the data of an inode lies, in order; holes are left out. Each stretch is inside the image.
 * @throws PersonaError 'bad-image' for data beyond the end, 'limit-exceeded' for endless maps.
 */
export function* stretchesOf(
  image: ErofsImage,
  inode: Inode,
  budget: ChunkBudget,
): Generator<Stretch> {
  if (inode.size === 0) return;
  if (inode.layout === layouts.chunks) yield* chunkStretches(image, inode, budget);
  else yield* flatStretches(image, inode);
}

function* flatStretches(image: ErofsImage, inode: Inode): Generator<Stretch> {
  const { size, layout, word, bodyAt } = inode;
  const unit = image.blockBytes;
  // Only what is left over after full blocks lies beside the inode; a full last block can, too.
  const tail = layout === layouts.inline ? size % unit || unit : 0;
  const blocks = size - tail;
  if (blocks > 0) yield checked(image, inode, { offset: 0, length: blocks, at: word * unit });
  if (tail === 0) return;
  if ((bodyAt % unit) + tail > unit)
    throw badImage(`inode ${inode.nid} has a tail over two blocks`);
  yield checked(image, inode, { offset: blocks, length: tail, at: bodyAt });
}

function* chunkStretches(image: ErofsImage, inode: Inode, budget: ChunkBudget): Generator<Stretch> {
  const indexes = (inode.word & chunkIndexes) !== 0;
  if ((inode.word & 0xffff & ~(chunkIndexes | 0x1f)) !== 0) {
    throw badImage(`inode ${inode.nid} has an unknown chunk format`);
  }
  const chunkBytes = image.blockBytes * 2 ** (inode.word & 0x1f);
  const unit = indexes ? 8 : 4;
  const chunks = Math.ceil(inode.size / chunkBytes);
  const mapAt = roundUp(inode.bodyAt, unit);
  if (!image.holds(mapAt, chunks * unit)) throw badImage(`inode ${inode.nid} has a cut-off map`);
  budget.used += chunks;
  if (budget.used > chunksMax) throw overLimit('the number of chunks of all files', chunksMax);
  let open: Stretch | undefined;
  for (let chunk = 0; chunk < chunks; chunk++) {
    const index = image.read(mapAt + chunk * unit, unit);
    const block = index.readUInt32LE(indexes ? 4 : 0);
    if (indexes && index.readUInt16LE(2) !== 0) throw badImage('a chunk lies on another device');
    const offset = chunk * chunkBytes;
    const length = Math.min(chunkBytes, inode.size - offset);
    const at = block * image.blockBytes;
    if (open !== undefined && block !== nullBlock && open.at + open.length === at) {
      open.length += length;
      continue;
    }
    if (open !== undefined) yield checked(image, inode, open);
    open = block === nullBlock ? undefined : { offset, length, at };
  }
  if (open !== undefined) yield checked(image, inode, open);
}

function checked(image: ErofsImage, inode: Inode, stretch: Stretch): Stretch {
  if (!image.holds(stretch.at, stretch.length)) {
    throw badImage(`the data of inode ${inode.nid} lies beyond the end of the image`);
  }
  return stretch;
}
