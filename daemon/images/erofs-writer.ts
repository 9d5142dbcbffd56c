import type { Entry } from './entry.ts';
import { collectData, placeData } from './erofs-data.ts';
import { blockBits, blockBytes, layouts } from './erofs-format.ts';
import { writeMetadata } from './erofs-metadata.ts';
import { type Node, NodeTree } from './erofs-nodes.ts';
import { ImageSink } from './image-sink.ts';
import type { Item } from './tree.ts';

/** Files up to this size lie beside their inode, which saves most of a block each ... */
const inlineFileBytes = 2048;
/** ... until this much of them is held in memory; later ones get blocks of their own. */
const inlineBytesMax = 64 * 1024 * 1024;

/** What was written. */
export interface WrittenImage {
  /** Length of the image, a multiple of 4096. */
  bytes: number;
  entries: number;
  inodes: number;
}

/**
 * Writes items (in path order, root first) as an uncompressed erofs image from the start of the
 * regular file `fd`, which is empty. The result depends on nothing but the items: equal trees give
 * equal bytes, on any machine. Content streams through; only names and inodes are held in memory.
 * Readable by kernels from 5.15 on. The file is complete, but not durable, when this returns.
 * @throws PersonaError 'bad-image' for items that are no tree, 'limit-exceeded' beyond 16 TiB.
 */
export async function writeErofs(
  items: AsyncIterable<Item> | Iterable<Item>,
  fd: number,
): Promise<WrittenImage> {
  const sink = new ImageSink(fd, blockBytes);
  const tree = new NodeTree();
  let inlined = 0;
  let entries = 0;
  for await (const { entry, content } of items) {
    entries += 1;
    const node = tree.add(entry);
    if (entry.type !== 'file' || node.size === 0) continue;
    if (node.size <= inlineFileBytes && inlined + node.size <= inlineBytesMax) {
      inlined += node.size;
      node.tail = await collectData(entry, content);
    } else await placeFile(sink, node, entry, content);
  }
  const bytes = await writeMetadata(sink, tree.nodes, fd);
  return { bytes, entries, inodes: tree.nodes.length };
}

async function placeFile(
  sink: ImageSink,
  node: Node,
  entry: Entry,
  content: AsyncIterable<Buffer>,
): Promise<void> {
  const placed = await placeData(sink, entry, content);
  node.block = placed.block;
  node.word = placed.block;
  if (placed.runs === undefined) return;
  node.runs = placed.runs;
  node.layout = layouts.chunks;
  node.word = Math.log2(placed.chunkBytes) - blockBits;
}
