import { blockBytes, direntBytes, direntType } from './erofs-format.ts';
import type { Node } from './erofs-nodes.ts';

/**
 * The directory blocks of a folder: names are packed greedily, and '.' and '..' are sorted among the
 * others, because the kernel searches each block by bisection.
 */
export class FolderBlocks {
  /** Total length in bytes: all blocks but the last are full ones. */
  readonly bytes: number;
  private readonly folder: Node;
  /** Index of the first name of each block; names count with '.' and '..' in place. */
  private readonly starts: number[] = [0];
  /** Where '.' and '..' stand among the names. */
  private readonly dot: number;
  private readonly count: number;

  constructor(folder: Node) {
    this.folder = folder;
    const names = folder.names ?? [];
    this.dot = names.findIndex((name) => name > '.');
    if (this.dot < 0) this.dot = names.length;
    this.count = names.length + 2;
    let used = 0;
    for (let i = 0; i < this.count; i++) {
      const bytes = direntBytes + this.name(i).length;
      if (used + bytes > blockBytes) {
        this.starts.push(i);
        used = 0;
      }
      used += bytes;
    }
    this.bytes = (this.starts.length - 1) * blockBytes + used;
  }

  /** The number of blocks, the last one perhaps not full. */
  get blocks(): number {
    return this.starts.length;
  }

  /** Writes block `index` at `at` of `target`; nids must be known. Returns its length in bytes. */
  write(index: number, target: Buffer, at: number): number {
    const first = this.starts[index] as number;
    const end = this.starts[index + 1] ?? this.count;
    let nameAt = (end - first) * direntBytes;
    for (let i = first; i < end; i++) {
      const entry = at + (i - first) * direntBytes;
      const node = this.node(i);
      target.writeUInt32LE(node.nid >>> 0, entry);
      target.writeUInt32LE(Math.floor(node.nid / 2 ** 32), entry + 4);
      target.writeUInt16LE(nameAt, entry + 8);
      target.writeUInt8(direntType(node.mode), entry + 10);
      target.writeUInt8(0, entry + 11);
      nameAt += target.write(this.name(i), at + nameAt, 'latin1');
    }
    return nameAt;
  }

  private name(i: number): string {
    if (i === this.dot) return '.';
    if (i === this.dot + 1) return '..';
    return this.folder.names?.[i < this.dot ? i : i - 2] as string;
  }

  private node(i: number): Node {
    if (i === this.dot) return this.folder;
    if (i === this.dot + 1) return this.folder.parent as Node;
    return this.folder.children?.[i < this.dot ? i : i - 2] as Node;
  }
}
