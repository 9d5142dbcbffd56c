import { direntBytes, direntType, typeBits } from './erofs-format.ts';
import type { ErofsImage } from './erofs-image.ts';
import type { Inode } from './erofs-inode.ts';
import { type ChunkBudget, stretchesOf } from './erofs-map.ts';
import { badImage, overLimit } from './faults.ts';
import { nameBytesMax } from './limits.ts';

/** One name of a folder. */
export interface Dirent {
  name: string;
  nid: number;
  /** The type byte; 0 says nothing. */
  type: number;
}

/** Names read so far in the whole image, and how many may be. */
export interface NameBudget {
  used: number;
  most: number;
}

/**
 * The names of a folder without '.' and '..', in bytewise order. The kernel searches by bisection, so
 * a folder out of order would look different by listing and by lookup: it is refused, as are double
 * names, names with '/' or NUL, and '.' or '..' that lead elsewhere.
 * @throws PersonaError 'bad-image', 'limit-exceeded'.
 */
export function readNames(
  image: ErofsImage,
  folder: Inode,
  parentNid: number,
  budgets: { names: NameBudget; chunks: ChunkBudget },
): Dirent[] {
  const names: Dirent[] = [];
  const dots: string[] = [];
  let last = '';
  let position = 0;
  for (const { offset, length, at } of stretchesOf(image, folder, budgets.chunks)) {
    if (offset !== position) throw broken(folder, 'has a hole');
    position += length;
    for (let done = 0; done < length; done += image.blockBytes) {
      const bytes = Math.min(image.blockBytes, length - done);
      for (const dirent of parseBlock(image.read(at + done, bytes), folder)) {
        if (dirent.name <= last) throw broken(folder, 'is not sorted, or has a name twice');
        last = dirent.name;
        if (++budgets.names.used > budgets.names.most) {
          throw overLimit('the number of names', budgets.names.most);
        }
        if (dirent.name === '.' || dirent.name === '..') {
          const wanted = dirent.name === '.' ? folder.nid : parentNid;
          if (dirent.nid !== wanted)
            throw broken(folder, `has a ${dirent.name} that leads elsewhere`);
          if (dirent.type !== 0 && dirent.type !== direntType(typeBits.dir)) {
            throw broken(folder, `has a ${dirent.name} that is no folder`);
          }
          dots.push(dirent.name);
        } else names.push(dirent);
      }
    }
  }
  if (dots.length !== 2 || position !== folder.size) throw broken(folder, 'is not complete');
  return names;
}

function* parseBlock(block: Buffer, folder: Inode): Generator<Dirent> {
  if (block.length < direntBytes) throw broken(folder, 'has a block without names');
  const first = block.readUInt16LE(8);
  if (first < direntBytes || first % direntBytes !== 0 || first > block.length) {
    throw broken(folder, 'has a block with a wrong start of names');
  }
  const count = first / direntBytes;
  let start = first;
  for (let i = 0; i < count; i++) {
    const isLast = i === count - 1;
    const end = isLast ? endOfLast(block, start) : block.readUInt16LE((i + 1) * direntBytes + 8);
    if (end <= start || end > block.length || end - start > nameBytesMax) {
      throw broken(folder, 'has a name of impossible length');
    }
    const name = block.toString('latin1', start, end);
    if (/[/\0]/.test(name)) throw broken(folder, 'has a name with a slash or a zero byte');
    const nid = Number(block.readBigUInt64LE(i * direntBytes));
    if (!Number.isSafeInteger(nid)) throw broken(folder, 'leads beyond the image');
    yield { name, nid, type: block.readUInt8(i * direntBytes + 10) };
    start = end;
  }
}

/** The last name of a block ends at the first zero byte or with the block. */
function endOfLast(block: Buffer, start: number): number {
  const zero = block.indexOf(0, start);
  return zero < 0 ? block.length : zero;
}

function broken(folder: Inode, reason: string): Error {
  return badImage(`the folder with inode ${folder.nid} ${reason}`);
}
