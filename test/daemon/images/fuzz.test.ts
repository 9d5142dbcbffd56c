import { openSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { diffTrees } from '../../../daemon/images/diff.ts';
import { readErofs } from '../../../daemon/images/erofs-reader.ts';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { decode, encode } from '../../../daemon/images/stream.ts';
import { itemsOf, type Tree } from '../../../daemon/images/tree.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { imageBytes } from '../../support/image-bytes.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { modelTree, treeOfModel } from '../../support/tree-arbitrary.ts';

// Narrow, so that a run that gets through is quick.
const limits = {
  ...defaultLimits,
  entries: 10_000,
  fileBytes: 1024 ** 3,
  dataBytes: 64 * 1024 ** 2,
  metadataBytes: 16 * 1024 ** 2,
};

/** Where and what to overwrite: positions count from the end, where the metadata is. */
const damage = fc.array(
  fc.record({
    back: fc.oneof(fc.nat({ max: 4096 }), fc.nat({ max: 100_000 })),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom(
        ...['00', 'ff', 'ffffffff', '00000000', '2f', '2e', 'ffffffffffffff7f', '0100', '0800'].map(
          (hex) => new Uint8Array(Buffer.from(hex, 'hex')),
        ),
      ),
    ),
  }),
  { minLength: 1, maxLength: 12 },
);

function damaged(valid: Buffer, hits: { back: number; bytes: Uint8Array }[]): Buffer {
  const bytes = Buffer.from(valid);
  for (const { back, bytes: patch } of hits) {
    const at = Math.max(0, bytes.length - 1 - (back % bytes.length));
    Buffer.from(patch).copy(bytes, at);
  }
  return bytes;
}

/** Runs `work`; a PersonaError is an answer, everything else a fault. */
async function answers(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'read';
  } catch (error) {
    if (error instanceof PersonaError && error.code !== 'internal') return error.code;
    throw error;
  }
}

async function drain(tree: Tree): Promise<void> {
  for (const { content } of itemsOf(tree)) for await (const _ of content);
}

test('a damaged erofs image is read or refused, and what was read can be written', async (t) => {
  const folder = scratchFolder(t);
  const scratch = openSync(join(folder, 'image'), 'w+');
  const other = openSync(join(folder, 'again'), 'w+');
  const answered = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(modelTree, damage, async (model, hits) => {
      const valid = await imageBytes(treeOfModel(model), scratch);
      const answer = await answers(async () => {
        const tree = readErofs(bufferSource(damaged(valid, hits)), { limits, kind: 'layer' });
        await drain(tree);
        await writeErofs(itemsOf(tree), other);
      });
      answered.set(answer, (answered.get(answer) ?? 0) + 1);
    }),
    { numRuns: 400 },
  );
  t.true((answered.get('read') ?? 0) > 0, 'some damage is harmless');
  t.true((answered.get('bad-image') ?? 0) > 0, 'some damage is found');
});

test('a truncated erofs image is refused at every length', async (t) => {
  const folder = scratchFolder(t);
  const scratch = openSync(join(folder, 'image'), 'w+');
  await fc.assert(
    fc.asyncProperty(modelTree, fc.double({ min: 0, max: 0.999, noNaN: true }), async (m, part) => {
      const valid = await imageBytes(treeOfModel(m), scratch);
      const cut = valid.subarray(0, Math.floor(valid.length * part));
      t.is(await answers(async () => readErofs(bufferSource(cut), { limits })), 'bad-image');
    }),
    { numRuns: 50 },
  );
});

test('a damaged entry stream is read or refused', async (t) => {
  const answered = new Set<string>();
  await fc.assert(
    fc.asyncProperty(modelTree, damage, fc.integer({ min: 1, max: 9000 }), async (m, hits, cut) => {
      const valid = await collected(encode(itemsOf(treeOfModel(m))));
      const bytes = damaged(valid, hits);
      const answer = await answers(async () => {
        for await (const { content } of decode(pieces(bytes, cut), { limits })) {
          for await (const _ of content);
        }
      });
      answered.add(answer);
    }),
    { numRuns: 400 },
  );
  t.true(answered.has('bad-image'));
});

test('an entry stream survives any cut into pieces, read or skipped', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelTree, fc.integer({ min: 1, max: 9000 }), async (model, cut) => {
      const bytes = await collected(encode(itemsOf(treeOfModel(model))));
      t.true(bytes.equals(await collected(encode(decode(pieces(bytes, cut))))));
      const paths: string[] = [];
      for await (const { entry } of decode(pieces(bytes, cut))) paths.push(entry.path);
      t.deepEqual(
        paths,
        treeOfModel(model).entries.map(({ path }) => path),
      );
    }),
    { numRuns: 60 },
  );
});

test('a stream that ends early, or goes on, is refused', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelTree, fc.nat(), async (model, at) => {
      const bytes = await collected(encode(itemsOf(treeOfModel(model))));
      const drained = async (data: Buffer) => {
        for await (const _ of decode(pieces(data, 4096)));
      };
      const cut = bytes.subarray(0, at % bytes.length);
      t.is(await answers(() => drained(cut)), 'bad-image');
      t.is(await answers(() => drained(Buffer.concat([bytes, Buffer.alloc(1)]))), 'bad-image');
    }),
    { numRuns: 60 },
  );
});

test('damaged trees that can be read can be compared', async (t) => {
  const folder = scratchFolder(t);
  const scratch = openSync(join(folder, 'image'), 'w+');
  await fc.assert(
    fc.asyncProperty(modelTree, damage, async (model, hits) => {
      const valid = await imageBytes(treeOfModel(model), scratch);
      await answers(async () => {
        const tree = readErofs(bufferSource(damaged(valid, hits)), { limits });
        await diffTrees(readErofs(bufferSource(valid), { limits }), tree);
      });
    }),
    { numRuns: 150 },
  );
  t.pass();
});

async function collected(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of source) all.push(piece);
  return Buffer.concat(all);
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
