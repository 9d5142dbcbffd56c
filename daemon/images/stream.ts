import { dataBytes, type Entry } from './entry.ts';
import { checkEntry } from './entry-grammar.ts';
import { badImage, overLimit } from './faults.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { SequenceCheck, type SequenceKind } from './sequence.ts';
import { type Item, noContent } from './tree.ts';

// The canonical entry stream: magic; per entry u32le length of the header, the header (the entry as
// UTF-8 JSON), the bytes of its data extents; a zero length; u64le number of entries.
const magic = Buffer.from('PENT1\n', 'latin1');
const batchBytes = 256 * 1024;

/**
 * Writes items as a canonical entry stream, in buffers of about 256 KiB. Pulls no further than its
 * own reader does. @throws PersonaError 'bad-image' when a content has another length than its
 * entry says (a source that changed while it was read).
 */
export async function* encode(items: AsyncIterable<Item> | Iterable<Item>): AsyncGenerator<Buffer> {
  const batch = new Batch();
  batch.add(magic);
  let count = 0;
  for await (const { entry, content } of items) {
    const header = Buffer.from(JSON.stringify(entry), 'utf8');
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(header.length);
    batch.add(length);
    batch.add(header);
    if (batch.full) yield batch.take();
    let left = dataBytes(entry);
    if (left > 0) {
      for await (const piece of content) {
        left -= piece.length;
        if (left < 0) break;
        batch.add(piece);
        if (batch.full) yield batch.take();
      }
    }
    if (left !== 0)
      throw badImage(`the content of ${JSON.stringify(entry.path)} changed its length`);
    count += 1;
  }
  const end = Buffer.alloc(12);
  end.writeBigUInt64LE(BigInt(count), 4);
  batch.add(end);
  yield batch.take();
}

/** Collects small buffers, so that the pipe sees few large ones. */
class Batch {
  private parts: Buffer[] = [];
  private bytes = 0;

  get full(): boolean {
    return this.bytes >= batchBytes;
  }

  add(part: Buffer): void {
    this.parts.push(part);
    this.bytes += part.length;
  }

  take(): Buffer {
    const all = this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts);
    this.parts = [];
    this.bytes = 0;
    return all;
  }
}

/** How strictly a stream is read. */
export interface DecodeOptions {
  limits?: Limits;
  /**
   * 'tree' (the default) refuses whiteouts and opaque folders; 'layer' accepts them; 'uppers' also other marks of overlayfs,
   * and leaves it to the reader to find the targets of hard links.
   */
  kind?: SequenceKind;
}

/**
 * Reads a canonical entry stream, checking grammar, order, parents, links and limits. The content of
 * an item is valid until the next item is asked for; what was not read of it is skipped.
 * @throws PersonaError 'bad-image' (also for a stream that ends early) or 'limit-exceeded'.
 */
export async function* decode(
  source: AsyncIterable<Buffer>,
  options: DecodeOptions = {},
): AsyncGenerator<Item> {
  const limits = options.limits ?? defaultLimits;
  const kind = options.kind ?? 'tree';
  const check = new SequenceCheck(limits, kind, kind === 'uppers');
  const input = new ByteInput(source);
  try {
    if (!magic.equals(await input.exactly(magic.length))) throw badImage('it is no entry stream');
    for (;;) {
      const length = (await input.exactly(4)).readUInt32LE();
      if (length === 0) break;
      if (length > limits.headerBytes) {
        throw overLimit('the description of an entry', `${limits.headerBytes} bytes`);
      }
      const entry = checkEntry(parseHeader(await input.exactly(length)), limits, kind === 'uppers');
      check.next(entry);
      input.left = dataBytes(entry);
      yield { entry, content: input.left === 0 ? noContent : contentOf(input) };
      while (input.left > 0) await input.piece();
    }
    check.end();
    const count = (await input.exactly(8)).readBigUInt64LE();
    if (count !== BigInt(check.entries)) throw badImage('the count at its end is wrong');
    if (!(await input.ended())) throw badImage('there are bytes after its end');
  } finally {
    await input.close();
  }
}

function parseHeader(bytes: Buffer): Entry {
  try {
    return JSON.parse(bytes.toString('utf8')) as Entry;
  } catch {
    throw badImage('an entry is not well-formed JSON');
  }
}

async function* contentOf(input: ByteInput): AsyncGenerator<Buffer> {
  while (input.left > 0) yield await input.piece();
}

/** Takes exact numbers of bytes from a stream of buffers, copying as little as possible. */
class ByteInput {
  /** Content bytes not yet taken by `piece`. */
  left = 0;
  private readonly source: AsyncIterator<Buffer>;
  private chunk: Buffer = Buffer.alloc(0);
  private at = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.source = source[Symbol.asyncIterator]();
  }

  async exactly(bytes: number): Promise<Buffer> {
    if (this.chunk.length - this.at >= bytes) return this.slice(bytes);
    const parts: Buffer[] = [];
    let missing = bytes;
    while (missing > 0) {
      if (this.at === this.chunk.length) await this.fill();
      const part = this.slice(Math.min(missing, this.chunk.length - this.at));
      missing -= part.length;
      parts.push(part);
    }
    return Buffer.concat(parts, bytes);
  }

  /** The next piece of the content; at least one byte of the `left` ones. */
  async piece(): Promise<Buffer> {
    if (this.at === this.chunk.length) await this.fill();
    const part = this.slice(Math.min(this.left, this.chunk.length - this.at));
    this.left -= part.length;
    return part;
  }

  async ended(): Promise<boolean> {
    while (this.at === this.chunk.length) {
      const { done, value } = await this.source.next();
      if (done === true) return true;
      this.chunk = value;
      this.at = 0;
    }
    return false;
  }

  async close(): Promise<void> {
    await this.source.return?.();
  }

  private slice(bytes: number): Buffer {
    const part = this.chunk.subarray(this.at, this.at + bytes);
    this.at += bytes;
    return part;
  }

  private async fill(): Promise<void> {
    if (await this.ended()) throw badImage('it ends too early');
  }
}
