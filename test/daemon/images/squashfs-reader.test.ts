import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { squashfsTree } from '../../../daemon/images/squashfs-reader.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { temporaryFolder } from '../../support/temp.ts';
import {
  differences,
  readWhole,
  successOrPersonaError,
  treeFacts,
  treeOfImage,
} from '../../support/tree-facts.ts';

/** mksquashfs 4.5 keeps no access lists and no times before 1970. */
function fill(folder: string): string {
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  fillOddTree(tree);
  run('setfacl', '-R', '-b', tree);
  run('touch', '-d', '@86400', join(tree, 'foo/b'));
  // More owners than one block of their table, and more names than one block of the folder's.
  for (let i = 0; i < 2500; i++) writeFileSync(join(tree, 'many', `more-${i}`), `more ${i}`);
  run('find', join(tree, 'many'), '-exec', 'touch', '-d', '@1700000000', '{}', '+');
  return tree;
}

for (const codec of ['gzip', 'zstd', 'lz4', 'xz']) {
  when(test, { root: true, tools: ['mksquashfs', 'setfacl', 'setfattr', 'setcap', 'xz'] })(
    `the tree that went in comes out: ${codec}`,
    async (t) => {
      const folder = temporaryFolder(t);
      const tree = fill(folder);
      const image = join(folder, 'x.squashfs');
      const options = codec === 'gzip' ? ['-b', '4096'] : codec === 'zstd' ? ['-no-fragments'] : [];
      run('mksquashfs', tree, image, '-comp', codec, '-quiet', '-no-progress', ...options);
      const seen = await treeFacts(await treeOfImage(t, folder, image));
      t.deepEqual(differences(seen, await treeFacts(treeOfFolder(tree))), {});
    },
  );
}

when(test, { root: true, tools: ['mksquashfs'] })(
  'lzo, cut images and other versions are refused',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree'));
    writeFileSync(join(folder, 'tree/file'), 'x'.repeat(100_000));
    const image = join(folder, 'x.squashfs');
    run('mksquashfs', join(folder, 'tree'), image, '-comp', 'lzo', '-quiet', '-no-progress');
    const error = await t.throwsAsync(treeOfImage(t, folder, image), { instanceOf: PersonaError });
    t.is(error.code, 'not-supported');
    t.regex(error.hint, /unsquashfs/);
    const bytes = readFileSync(image);
    bytes.writeUInt16LE(3, 28);
    t.throws(() => squashfsTree(bufferSource(bytes), defaultLimits), {
      message: /another version/,
    });
    execFileSync('rm', [image]);
    run(
      'mksquashfs',
      join(folder, 'tree'),
      image,
      '-noD',
      '-noF',
      '-quiet',
      '-no-progress',
      '-nopad',
    );
    truncateSync(image, readFileSync(image).length - 10);
    await t.throwsAsync(treeOfImage(t, folder, image), { message: /cut off/ });
  },
);

when(test, { tools: ['mksquashfs'] })(
  'damage anywhere ends in a tree or in an error of ours',
  async (t) => {
    const folder = temporaryFolder(t);
    const tree = join(folder, 'tree');
    mkdirSync(join(tree, 'many'), { recursive: true });
    for (let i = 0; i < 50; i++) writeFileSync(join(tree, 'many', `f${i}`), `${i}`.repeat(i * 50));
    // Plain metadata, so that damage reaches the parser; packed, so that it reaches the codec.
    for (const options of [
      ['-noI', '-noD', '-noF', '-noX'],
      ['-comp', 'lz4'],
      ['-comp', 'gzip'],
    ]) {
      const image = join(folder, `${options.join('')}.squashfs`);
      run('mksquashfs', tree, image, '-b', '4096', '-quiet', '-no-progress', '-nopad', ...options);
      const whole = readFileSync(image);
      // Half of the changes hit the superblock and the tables at the end.
      const place = fc.oneof(
        fc.nat(whole.length - 1),
        fc.nat(95),
        fc.integer({ min: whole.length - 2500, max: whole.length - 1 }),
      );
      const change = fc.record({ at: place, to: fc.nat(255) });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
          const bytes = Buffer.from(whole);
          for (const { at, to } of changes) bytes[Math.max(0, at)] = to;
          await successOrPersonaError(async () =>
            readWhole(squashfsTree(bufferSource(bytes), defaultLimits)),
          );
        }),
        { numRuns: 800 },
      );
    }
    t.pass();
  },
);
