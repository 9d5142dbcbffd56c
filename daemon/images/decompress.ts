import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { PersonaError } from '../../ipc/errors.ts';
import { overLimit } from './faults.ts';
import { badArchive } from './tar-headers.ts';

/** What may come out of a compressed stream. */
export interface DecompressLimits {
  /** Bytes that may come out. */
  bytes: number;
  /** From `ratioFromBytes` on: bytes that may come out for one that goes in. */
  ratio: number;
  ratioFromBytes: number;
}

/**
 * gzip cannot do better than 1:1032, zstd has no bound. Real system trees stay below 1:20; a sparse
 * disk image written as zeros may be worse, so small outputs are never judged.
 */
export const defaultDecompressLimits: Readonly<DecompressLimits> = Object.freeze({
  bytes: 1024 ** 4,
  ratio: 400,
  ratioFromBytes: 1024 ** 3,
});

type Engine = Gunzip | ZstdDecompress;

/** Largest window a zstd stream may ask memory for: 128 MiB, what the zstd tool allows by default. */
const zstdWindowLog = 27;

/**
 * The content of a gzip or zstd stream, also of several joined ones; zeros after gzip are padding.
 * The next piece of input is asked for only when the last one is used up.
 * @throws PersonaError 'bad-archive' when it is damaged, cut off or followed by something else;
 *   'limit-exceeded' when more comes out than the limits allow.
 */
export async function* decompressed(
  input: AsyncIterable<Buffer>,
  format: 'gzip' | 'zstd',
  limits: DecompressLimits = defaultDecompressLimits,
): AsyncGenerator<Buffer> {
  const counter = { in: 0, out: 0 };
  const pieces = input[Symbol.asyncIterator]();
  let rest: Buffer | undefined = await nextPiece(pieces, counter);
  if (rest === undefined) throw badArchive(`it is empty, not ${format}`);
  while (rest !== undefined) {
    const end: { rest?: Buffer | undefined } = {};
    for await (const piece of frame(rest, pieces, format, counter, end)) {
      counter.out += piece.length;
      checkOutput(counter, limits);
      yield piece;
    }
    rest = await nextFrame(end.rest, pieces, format, counter);
  }
}

async function nextPiece(
  pieces: AsyncIterator<Buffer>,
  counter: { in: number },
): Promise<Buffer | undefined> {
  for (;;) {
    const { done, value } = await pieces.next();
    if (done === true) return undefined;
    counter.in += value.length;
    if (value.length > 0) return value;
  }
}

/** What follows a frame: another one, padding of zeros (after gzip, skipped whole), or nothing. */
async function nextFrame(
  rest: Buffer | undefined,
  pieces: AsyncIterator<Buffer>,
  format: 'gzip' | 'zstd',
  counter: { in: number },
): Promise<Buffer | undefined> {
  let piece = rest !== undefined && rest.length > 0 ? rest : await nextPiece(pieces, counter);
  if (piece === undefined || piece[0] !== 0 || format === 'zstd') return piece;
  for (; piece !== undefined; piece = await nextPiece(pieces, counter)) {
    if (!piece.every((byte) => byte === 0)) throw badArchive('something follows its end');
  }
  return undefined;
}

/**
 * One gzip member or zstd frame. Node ends a zstd stream at its first frame and would drop the
 * others, so each gets an engine of its own; `end.rest` becomes the input that it did not use.
 */
async function* frame(
  first: Buffer,
  pieces: AsyncIterator<Buffer>,
  format: 'gzip' | 'zstd',
  counter: { in: number },
  end: { rest?: Buffer | undefined },
): AsyncGenerator<Buffer> {
  const engine = createEngine(format);
  let failure: unknown;
  engine.on('error', (error) => {
    failure = error;
  });
  const feeding = feed(engine, first, pieces, counter, end).catch((error: unknown) => {
    engine.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const piece of engine) yield piece as Buffer;
  } catch (error) {
    throw translated(failure ?? error, format);
  } finally {
    engine.destroy();
    await feeding;
  }
}

function createEngine(format: 'gzip' | 'zstd'): Engine {
  if (format === 'gzip') return createGunzip({ chunkSize: 256 * 1024 });
  // 100 is ZSTD_d_windowLogMax.
  return createZstdDecompress({ chunkSize: 256 * 1024, params: { 100: zstdWindowLog } });
}

async function feed(
  engine: Engine,
  first: Buffer,
  pieces: AsyncIterator<Buffer>,
  counter: { in: number },
  end: { rest?: Buffer | undefined },
): Promise<void> {
  let piece: Buffer | undefined = first;
  let before = 0;
  while (piece !== undefined) {
    await written(engine, piece);
    const used = engine.bytesWritten - before;
    if (used < piece.length) {
      // The frame ended inside this piece (or the engine failed: then the rest does not matter).
      end.rest = piece.subarray(used);
      return;
    }
    before += piece.length;
    piece = await nextPiece(pieces, counter);
  }
  engine.end();
}

/** Waits until the engine has used the piece, or came to the end of its frame before. */
function written(engine: Engine, piece: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  engine.once('end', done).once('close', done);
  engine.write(piece, done);
  return promise.finally(() => engine.off('end', done).off('close', done));
}

function translated(error: unknown, format: string): unknown {
  if (error instanceof PersonaError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code === 'Z_BUF_ERROR') return badArchive(`the ${format} data is cut off`);
  if (code.startsWith('Z') || code.startsWith('ERR_')) {
    return badArchive(`the ${format} data is damaged (${(error as Error).message})`);
  }
  return error;
}

function checkOutput(counter: { in: number; out: number }, limits: DecompressLimits): void {
  if (counter.out > limits.bytes) throw overLimit('the unpacked content', `${limits.bytes} bytes`);
  if (counter.out > limits.ratioFromBytes && counter.out > counter.in * limits.ratio) {
    throw overLimit('the ratio of unpacked to packed', `1:${limits.ratio}`);
  }
}
