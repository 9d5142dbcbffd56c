import { type Entry, extentsOf, shownPath } from './entry.ts';
import { blockBytes, roundUp } from './erofs-format.ts';
import { badImage } from './faults.ts';
import type { ImageSink } from './image-sink.ts';

/** Chunks of sparse files: large enough that a map stays small, small enough to keep most holes. */
const chunkBytesMin = 64 * 1024;
/** Entries of one chunk map (4 bytes each); larger files get larger chunks. */
const chunksMax = 1024 * 1024;

/** Where the data of a file was put. */
export interface PlacedData {
  /** First block, 0 when nothing was stored. */
  block: number;
  chunkBytes: number;
  /** Chunks that were stored, as runs [first, count, first, count, ...]; undefined: all of them. */
  runs?: number[];
}

/** The chunk size used for a file of `size` bytes. */
export function chunkBytesOf(size: number): number {
  let bytes = chunkBytesMin;
  while (size / bytes > chunksMax) bytes *= 2;
  return bytes;
}

/**
 * Appends the content of a file to the data area. Aligned chunks of zeros are left out whether the
 * source calls them holes or not, so that equal content always gives an equal image.
 * @throws PersonaError 'bad-image' when the content has another length than the entry says.
 */
export async function placeData(
  sink: ImageSink,
  entry: Entry,
  content: AsyncIterable<Buffer>,
): Promise<PlacedData> {
  const file = new ChunkedFile(sink, entry.size ?? 0);
  for await (const [offset, piece] of positioned(entry, content)) await file.write(offset, piece);
  return file.end();
}

/** The whole content of a small file in memory, holes filled with zeros. Errors as `placeData`. */
export async function collectData(entry: Entry, content: AsyncIterable<Buffer>): Promise<Buffer> {
  const whole = Buffer.alloc(entry.size ?? 0);
  for await (const [offset, piece] of positioned(entry, content)) piece.copy(whole, offset);
  return whole;
}

/** The pieces of a content with their offsets in the file; a piece never crosses an extent's end. */
export async function* positioned(
  entry: Entry,
  content: AsyncIterable<Buffer>,
): AsyncGenerator<[offset: number, piece: Buffer]> {
  const extents = extentsOf(entry);
  let index = 0;
  let done = 0;
  for await (const piece of content) {
    for (let at = 0; at < piece.length; ) {
      const extent = extents[index];
      if (extent === undefined) throw wrongLength(entry);
      const bytes = Math.min(piece.length - at, extent[1] - done);
      yield [extent[0] + done, piece.subarray(at, at + bytes)];
      at += bytes;
      done += bytes;
      if (done === extent[1]) {
        index += 1;
        done = 0;
      }
    }
  }
  if (index !== extents.length) throw wrongLength(entry);
}

function wrongLength(entry: Entry): Error {
  return badImage(`the content of ${shownPath(entry.path)} has another length than announced`);
}

class ChunkedFile {
  private readonly sink: ImageSink;
  private readonly size: number;
  private readonly chunkBytes: number;
  private readonly block: number;
  /** The chunk being filled, and how much of it; it lies at the end of the sink's buffer. */
  private chunk = -1;
  private filled = 0;
  private readonly runs: number[] = [];
  private stored = 0;

  constructor(sink: ImageSink, size: number) {
    this.sink = sink;
    this.size = size;
    this.chunkBytes = chunkBytesOf(size);
    this.block = sink.position / blockBytes;
  }

  async write(offset: number, piece: Buffer): Promise<void> {
    let position = offset;
    for (let at = 0; at < piece.length; ) {
      const index = Math.floor(position / this.chunkBytes);
      if (index !== this.chunk) {
        this.finishChunk();
        this.chunk = index;
        this.filled = 0;
        await this.sink.room(this.chunkBytes);
      }
      const start = position - index * this.chunkBytes;
      const bytes = Math.min(piece.length - at, this.chunkBytes - start);
      const { buffer, used } = this.sink;
      buffer.fill(0, used + this.filled, used + start);
      piece.copy(buffer, used + start, at, at + bytes);
      this.filled = start + bytes;
      at += bytes;
      position += bytes;
    }
  }

  end(): PlacedData {
    this.finishChunk();
    const { block, chunkBytes, runs } = this;
    const all = Math.ceil(this.size / chunkBytes);
    if (this.stored === all) return { block: all === 0 ? 0 : block, chunkBytes };
    return { block, chunkBytes, runs };
  }

  private finishChunk(): void {
    if (this.chunk < 0) return;
    const { buffer, used } = this.sink;
    const logical = Math.min(this.chunkBytes, this.size - this.chunk * this.chunkBytes);
    const bytes = roundUp(logical, blockBytes);
    buffer.fill(0, used + this.filled, used + bytes);
    if (isZero(buffer, used, used + this.filled)) return;
    this.sink.used += bytes;
    this.stored += 1;
    const last = this.runs.length - 2;
    if (last >= 0 && (this.runs[last] as number) + (this.runs[last + 1] as number) === this.chunk) {
      this.runs[last + 1] = (this.runs[last + 1] as number) + 1;
    } else this.runs.push(this.chunk, 1);
  }
}

const zeros = Buffer.alloc(chunkBytesMin);

/** True when the bytes of `buffer` from `start` to `end` are all zero. */
export function isZero(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += zeros.length) {
    const stop = Math.min(end, at + zeros.length);
    if (buffer.compare(zeros, 0, stop - at, at, stop) !== 0) return false;
  }
  return true;
}
