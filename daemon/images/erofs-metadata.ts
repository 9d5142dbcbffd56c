import { createHash } from 'node:crypto';
import { chunkBytesOf } from './erofs-data.ts';
import { FolderBlocks } from './erofs-folders.ts';
import {
  blockBytes,
  compatChecksum,
  compatMtime,
  encodeSuperblock,
  extendedInodeBytes,
  incompatChunked,
  layouts,
  nullBlock,
  roundUp,
  slotBytes,
  xattrHeaderBytes,
} from './erofs-format.ts';
import type { Node } from './erofs-nodes.ts';
import { overLimit } from './faults.ts';
import { type ImageSink, writeAll } from './image-sink.ts';

/** The root comes first, as its node id has 16 bits; node id 0 would read as a deleted file. */
const firstSlot = 2;

/**
 * Writes everything after the file data: directory blocks, then the inodes, then the superblock in
 * block 0. Returns the length of the image. @throws PersonaError 'limit-exceeded' beyond 2^32 blocks.
 */
export async function writeMetadata(sink: ImageSink, nodes: Node[], fd: number): Promise<number> {
  const folders = layOut(nodes);
  for (const node of nodes) await placeOwnBlocks(sink, node, folders.get(node));
  await sink.flush();
  const hash = createHash('sha256');
  sink.hash = hash;
  const start = sink.position;
  for (const node of nodes) await writeNode(sink, node, folders.get(node), start);
  await sink.pad(blockBytes);
  await sink.end();
  const bytes = sink.position;
  if (bytes / blockBytes >= nullBlock) throw overLimit('the image', '16 TiB');
  const superblock = encodeSuperblock({
    rootNid: nodes[0]?.nid ?? firstSlot,
    inodes: nodes.length,
    blocks: bytes / blockBytes,
    metaBlock: start / blockBytes,
    xattrBlock: 0,
    buildTime: 0n,
    buildTimeNs: 0,
    compat: compatChecksum | compatMtime,
    incompat: nodes.some((node) => node.layout === layouts.chunks) ? incompatChunked : 0,
    uuid: uuidOf(hash.digest()),
  });
  await writeAll(fd, superblock, 0);
  return bytes;
}

/** A version 8 UUID made of a digest, so that overlayfs can tell two images apart. */
function uuidOf(digest: Buffer): Buffer {
  const uuid = Buffer.from(digest.subarray(0, 16));
  uuid[6] = ((uuid[6] as number) & 0x0f) | 0x80;
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  return uuid;
}

/** Gives every node its place in the metadata area and decides what lies inline. */
function layOut(nodes: Node[]): Map<Node, FolderBlocks> {
  const folders = new Map<Node, FolderBlocks>();
  let position = firstSlot * slotBytes;
  for (const node of nodes) {
    const header = extendedInodeBytes + (node.xattrs?.length ?? 0);
    let tail = node.tail?.length ?? 0;
    if (node.names !== undefined) {
      const folder = new FolderBlocks(node);
      folders.set(node, folder);
      node.size = folder.bytes;
      tail = folder.bytes % blockBytes;
    }
    // Inode, attributes and tail in one block: kernels before 6.2 want it so for symlinks.
    const inline = tail > 0 && header + tail <= blockBytes;
    if (inline) node.layout = layouts.inline;
    const whole = inline ? header + tail : extendedInodeBytes;
    if ((position % blockBytes) + whole > blockBytes) position = roundUp(position, blockBytes);
    node.nid = position / slotBytes;
    const end = position + header + (inline ? tail : mapBytes(node));
    position = roundUp(end, slotBytes);
  }
  return folders;
}

/** Length of the chunk map behind the inode of a sparse file. */
function mapBytes(node: Node): number {
  return node.runs === undefined ? 0 : 4 * Math.ceil(node.size / chunkBytesOf(node.size));
}

/** Writes the blocks of folders, and of tails that did not fit beside their inode. */
async function placeOwnBlocks(
  sink: ImageSink,
  node: Node,
  folder: FolderBlocks | undefined,
): Promise<void> {
  const inline = node.layout === layouts.inline;
  if (node.tail !== undefined && !inline) {
    node.word = sink.position / blockBytes;
    await sink.append(node.tail);
    await sink.pad(blockBytes);
  }
  const blocks = folder === undefined ? 0 : folder.blocks - (inline ? 1 : 0);
  if (folder === undefined || blocks === 0) return;
  node.word = sink.position / blockBytes;
  for (let i = 0; i < blocks; i++) {
    await sink.room(blockBytes);
    sink.buffer.fill(0, sink.used, sink.used + blockBytes);
    folder.write(i, sink.buffer, sink.used);
    sink.used += blockBytes;
  }
}

async function writeNode(
  sink: ImageSink,
  node: Node,
  folder: FolderBlocks | undefined,
  start: number,
): Promise<void> {
  const gap = start + node.nid * slotBytes - sink.position;
  if (sink.free < gap + 2 * blockBytes) await sink.room(gap + 2 * blockBytes);
  sink.buffer.fill(0, sink.used, sink.used + gap);
  sink.used += gap;
  encodeInode(node, sink.buffer, sink.used);
  sink.used += extendedInodeBytes;
  if (node.xattrs !== undefined) await sink.append(node.xattrs);
  if (node.runs !== undefined) await writeMap(sink, node, node.runs);
  if (node.layout !== layouts.inline) return;
  if (node.tail !== undefined) await sink.append(node.tail);
  else if (folder !== undefined) {
    await sink.room(blockBytes);
    sink.used += folder.write(folder.blocks - 1, sink.buffer, sink.used);
  }
}

function encodeInode(node: Node, into: Buffer, at: number): void {
  into.fill(0, at, at + extendedInodeBytes);
  into.writeUInt16LE(1 | (node.layout << 1), at);
  if (node.xattrs !== undefined) {
    into.writeUInt16LE((node.xattrs.length - xattrHeaderBytes) / 4 + 1, at + 2);
  }
  into.writeUInt16LE(node.mode, at + 4);
  into.writeUInt32LE(node.size % 2 ** 32, at + 8);
  into.writeUInt32LE(Math.floor(node.size / 2 ** 32), at + 12);
  into.writeUInt32LE(node.word, at + 16);
  into.writeUInt32LE(node.nid % 2 ** 32, at + 20);
  into.writeUInt32LE(node.uid, at + 24);
  into.writeUInt32LE(node.gid, at + 28);
  into.writeBigInt64LE(BigInt(node.mtime), at + 32);
  into.writeUInt32LE(node.mtimeNs, at + 40);
  into.writeUInt32LE(node.nlink, at + 44);
}

/** Writes the block address of every chunk: stored chunks lie one after the other. */
async function writeMap(sink: ImageSink, node: Node, runs: number[]): Promise<void> {
  const chunkBytes = chunkBytesOf(node.size);
  const chunks = Math.ceil(node.size / chunkBytes);
  let block = node.block;
  let run = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (sink.free < 4) await sink.room(4);
    const first = runs[run] ?? Number.POSITIVE_INFINITY;
    if (chunk < first) sink.buffer.writeUInt32LE(nullBlock, sink.used);
    else {
      sink.buffer.writeUInt32LE(block, sink.used);
      block += chunkBytes / blockBytes;
      if (chunk + 1 === first + (runs[run + 1] as number)) run += 2;
    }
    sink.used += 4;
  }
}
