import { gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import {
  type DecompressLimits,
  decompressed,
  defaultDecompressLimits,
} from '../../../daemon/images/decompress.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { successOrPersonaError } from '../../support/tree-facts.ts';

type Format = 'gzip' | 'zstd';
const pack = { gzip: gzipSync, zstd: zstdCompressSync } as const;

async function* inPieces(bytes: Buffer, step: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

async function unpack(
  bytes: Buffer,
  format: Format,
  step = 65_536,
  limits: DecompressLimits = defaultDecompressLimits,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of decompressed(inPieces(bytes, step), format, limits)) pieces.push(piece);
  return Buffer.concat(pieces);
}

const first = Buffer.alloc(1_000_000, 'first ');
const second = Buffer.alloc(50_000, 'second');
const skipped = Buffer.from('502a4d180400000001020304', 'hex');

for (const format of ['gzip', 'zstd'] as const) {
  test(`${format}: one stream and joined ones, in pieces of any size`, async (t) => {
    const joined = Buffer.concat([pack[format](first), pack[format](second)]);
    for (const step of [1, 7, 22, 1000, 1e9]) {
      t.true((await unpack(pack[format](first), format, step)).equals(first));
      t.true((await unpack(joined, format, step)).equals(Buffer.concat([first, second])));
    }
    t.is((await unpack(pack[format](Buffer.alloc(0)), format)).length, 0);
  });

  test(`${format}: what follows the end is refused, but for zeros after gzip`, async (t) => {
    const packed = pack[format](second);
    for (const step of [1, 9, 1e9]) {
      const padded = Buffer.concat([packed, Buffer.alloc(700)]);
      if (format === 'gzip') t.true((await unpack(padded, format, step)).equals(second));
      else await t.throwsAsync(unpack(padded, format, step), { code: 'bad-archive' });
      const more = Buffer.concat([packed, Buffer.from('something else')]);
      await t.throwsAsync(unpack(more, format, step), { code: 'bad-archive' });
      const hidden = Buffer.concat([packed, Buffer.alloc(700), Buffer.from('x')]);
      await t.throwsAsync(unpack(hidden, format, step), { code: 'bad-archive' });
    }
  });

  test(`${format}: cut anywhere is refused as cut`, async (t) => {
    const packed = pack[format](Buffer.from('a few words of content, packed'));
    for (let length = 0; length < packed.length; length++) {
      await t.throwsAsync(unpack(packed.subarray(0, length), format, 5), { code: 'bad-archive' });
    }
  });

  test(`${format}: a bomb ends at the limit, not after it`, async (t) => {
    const bomb = pack[format](Buffer.alloc(200_000_000));
    const limits = { ...defaultDecompressLimits, bytes: 5_000_000 };
    let out = 0;
    const error = await t.throwsAsync(async () => {
      for await (const piece of decompressed(inPieces(bomb, 4096), format, limits))
        out += piece.length;
    });
    t.true(error instanceof PersonaError && error.code === 'limit-exceeded');
    t.true(out <= limits.bytes);
    const ratio = { bytes: 1e12, ratio: 100, ratioFromBytes: 10_000_000 };
    await t.throwsAsync(unpack(bomb, format, 4096, ratio), { message: /ratio/ });
    t.is(
      (await unpack(pack[format](Buffer.alloc(9_000_000)), format, 4096, ratio)).length,
      9_000_000,
    );
  });

  test(`${format}: damage ends in content or in an error of ours`, async (t) => {
    const packed = Buffer.concat([pack[format](first), pack[format](second)]);
    const change = fc.record({
      at: fc.nat(packed.length - 1),
      to: fc.nat(255),
      step: fc.integer({ min: 1, max: 300 }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, to, step }) => {
        const bytes = Buffer.from(packed);
        bytes[at] = to;
        await successOrPersonaError(() => unpack(bytes, format, step));
      }),
      { numRuns: 300 },
    );
    t.pass();
  });

  test(`${format}: a reader that stops early leaves nothing running`, async (t) => {
    let asked = 0;
    const source = async function* () {
      for await (const piece of inPieces(pack[format](Buffer.alloc(50_000_000, 'abc')), 100)) {
        asked += 1;
        yield piece;
      }
    };
    for await (const piece of decompressed(source(), format)) {
      t.true(piece.length > 0);
      break;
    }
    const before = asked;
    await new Promise((resolve) => setImmediate(resolve));
    t.is(asked, before);
  });

  test(`${format}: an error of the source comes through`, async (t) => {
    const source = async function* () {
      yield pack[format](first).subarray(0, 20);
      throw new PersonaError('bad-archive', 'the source broke');
    };
    await t.throwsAsync(
      async () => {
        for await (const _ of decompressed(source(), format));
      },
      { message: /the source broke/ },
    );
  });
}

test('zstd frames to be skipped are skipped, wherever they stand', async (t) => {
  const packed = Buffer.concat([skipped, pack.zstd(first), skipped, pack.zstd(second), skipped]);
  for (const step of [1, 5, 12, 1e9]) {
    t.true((await unpack(packed, 'zstd', step)).equals(Buffer.concat([first, second])));
  }
});
