import type { Entry } from './entry.ts';
import { isZero, positioned } from './erofs-data.ts';
import type { Tree } from './tree.ts';

/**
 * True when two files hold the same bytes. Holes count as zeros, but are not read. The caller has
 * compared the sizes.
 */
export async function sameContent(
  a: { tree: Tree; entry: Entry },
  b: { tree: Tree; entry: Entry },
): Promise<boolean> {
  const left = new DataCursor(a.tree, a.entry);
  const right = new DataCursor(b.tree, b.entry);
  try {
    await left.fill();
    await right.fill();
    while (left.piece !== undefined || right.piece !== undefined) {
      const start = Math.min(left.offset, right.offset);
      const bytes = Math.min(left.bytesFrom(start), right.bytesFrom(start));
      if (!agree(left, right, start, bytes)) return false;
      await left.skip(start + bytes);
      await right.skip(start + bytes);
    }
    return true;
  } finally {
    await left.close();
    await right.close();
  }
}

/** Compares `bytes` bytes at `start`, where at least one side has data; a hole reads as zeros. */
function agree(left: DataCursor, right: DataCursor, start: number, bytes: number): boolean {
  const one = left.at(start, bytes);
  const other = right.at(start, bytes);
  if (one !== undefined && other !== undefined) return one.equals(other);
  const data = one ?? other;
  return data === undefined || isZero(data, 0, data.length);
}

/** Steps through the data of one file. */
class DataCursor {
  /** The data at hand, or undefined at the end. */
  piece: Buffer | undefined = undefined;
  /** Where `piece` stands in the file; infinity at the end. */
  offset = Number.POSITIVE_INFINITY;
  private readonly pieces: AsyncGenerator<[number, Buffer]>;

  constructor(tree: Tree, entry: Entry) {
    this.pieces = positioned(entry, tree.read(entry));
  }

  async fill(): Promise<void> {
    const { done, value } = await this.pieces.next();
    this.piece = done === true ? undefined : value[1];
    this.offset = done === true ? Number.POSITIVE_INFINITY : value[0];
  }

  /** How far from `start` this side stays the same: data, or the hole before its data. */
  bytesFrom(start: number): number {
    return this.offset > start ? this.offset - start : (this.piece?.length ?? 0);
  }

  at(start: number, bytes: number): Buffer | undefined {
    return this.offset > start ? undefined : this.piece?.subarray(0, bytes);
  }

  /** Moves on to `position`, which lies in the data at hand, at its end, or in the hole before. */
  async skip(position: number): Promise<void> {
    if (this.piece === undefined || this.offset >= position) return;
    const rest = this.piece.subarray(position - this.offset);
    if (rest.length === 0) return this.fill();
    this.piece = rest;
    this.offset = position;
  }

  async close(): Promise<void> {
    await this.pieces.return(undefined);
  }
}
