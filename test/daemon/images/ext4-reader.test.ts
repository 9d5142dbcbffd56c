import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { ext4Tree, openExt4 } from '../../../daemon/images/ext4-reader.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { mountImage } from '../../support/mount-image.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import {
  readWhole,
  successOrPersonaError,
  treeFacts,
  treeOfImage,
} from '../../support/tree-facts.ts';

const tools = ['mkfs.ext4', 'mount', 'setfacl', 'setfattr', 'setcap'];
const limits = defaultLimits;

/** Mounts an image on a new folder; it is taken off at the end of the test at the latest. */
function mounted(
  t: ExecutionContext,
  folder: string,
  image: string,
): { at: string; off: () => void } {
  const at = join(folder, 'mounted');
  mkdirSync(at);
  mountImage(image, at);
  let on = true;
  const off = () => {
    if (on) run('umount', at);
    on = false;
  };
  t.teardown(off);
  return { at, off };
}

function emptyImage(folder: string, program: string, size: string, ...options: string[]): string {
  const image = join(folder, 'x.img');
  writeFileSync(image, '');
  truncateSync(image, 0);
  run(program, '-q', '-F', ...options, image, size);
  return image;
}

/** Content that only a living file system has: deleted names, truncated files, unwritten extents. */
function addHistory(at: string, extents: boolean): void {
  for (let i = 0; i < 3000; i++) writeFileSync(join(at, 'many', `gone-${i}`), 'x');
  for (let i = 0; i < 3000; i++) if (i % 7 !== 0) rmSync(join(at, 'many', `gone-${i}`));
  writeFileSync(join(at, 'e/cut'), Buffer.alloc(200_000, 3));
  truncateSync(join(at, 'e/cut'), 70_001);
  // Allocated but never written; and space kept behind the end of a file.
  writeFileSync(join(at, 'e/unwritten'), '');
  writeFileSync(join(at, 'e/kept'), 'kept');
  if (extents) {
    run('fallocate', '-l', '300000', join(at, 'e/unwritten'));
    run('fallocate', '-n', '-o', '4', '-l', '300000', join(at, 'e/kept'));
  }
  const fragments = openSync(join(at, 'e/fragments'), 'w');
  for (let i = 0; i < 400; i++) writeSync(fragments, `piece ${i}`, i * 20_000);
  closeSync(fragments);
  for (let i = 0; i < 8; i++) {
    run('setfattr', '-n', `user.many${i}`, '-v', 'v'.repeat(60), join(at, 'e/cut'));
  }
  run('touch', '-d', '@1234567890.123456789', join(at, 'e/cut'));
  run('touch', '-d', '@4294967297.5', join(at, 'e/kept'));
  run('touch', '-d', '@-1.25', join(at, 'e/unwritten'));
}

const forms: [string, string, string[]][] = [
  ['blocks of 4 KiB', 'mkfs.ext4', ['-b', '4096']],
  ['blocks of 1 KiB', 'mkfs.ext4', ['-b', '1024']],
  ['ext2: old block maps', 'mkfs.ext2', []],
  ['ext3: old block maps, 1 KiB', 'mkfs.ext3', ['-b', '1024']],
  ['small files and folders inside inodes', 'mkfs.ext4', ['-O', 'inline_data', '-I', '512']],
  ['large attributes in inodes of their own', 'mkfs.ext4', ['-O', 'ea_inode']],
  [
    'descriptors spread (meta_bg), no flex_bg',
    'mkfs.ext4',
    ['-O', 'meta_bg,^resize_inode,^flex_bg', '-b', '1024', '-g', '1024'],
  ],
  [
    'no checksums, no 64 bits, small inodes',
    'mkfs.ext4',
    ['-O', '^metadata_csum,^64bit', '-I', '128'],
  ],
  ['clusters (bigalloc)', 'mkfs.ext4', ['-O', 'bigalloc', '-C', '16384']],
];

for (const [title, program, options] of forms) {
  when(test, { root: true, tools: [...tools, program] })(
    `the reader sees what the kernel shows: ${title}`,
    async (t) => {
      const folder = scratchFolder(t);
      const image = emptyImage(folder, program, '128M', ...options);
      const { at, off } = mounted(t, folder, image);
      rmSync(join(at, 'lost+found'), { recursive: true });
      fillOddTree(at, { small: options.includes('128') });
      addHistory(at, program === 'mkfs.ext4');
      if (options.includes('ea_inode')) {
        run('setfattr', '-n', 'user.large', '-v', 'l'.repeat(20_000), join(at, 'foo.c'));
      }
      run('sync', '-f', at);
      const expected = await treeFacts(treeOfFolder(at));
      off();
      const seen = await treeFacts(await treeOfImage(t, folder, image));
      t.deepEqual(seen, expected);
    },
  );
}

when(test, { root: true, tools })('mkfs.ext4 -d: the tree that went in comes out', async (t) => {
  const folder = scratchFolder(t);
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  fillOddTree(tree);
  // mke2fs 1.47 writes neither times after 2038 nor those of the root.
  run('touch', '-d', '@1000000000', join(tree, 'foo.c'));
  const image = join(folder, 'x.img');
  run('mkfs.ext4', '-q', '-d', tree, image, '64M');
  const expected = await treeFacts(treeOfFolder(tree));
  const seen = await treeFacts(await treeOfImage(t, folder, image));
  t.deepEqual({ ...seen, '': undefined }, { ...expected, '': undefined });
  // More than a page: no kernel on this machine mounts that, but others do.
  run('mkfs.ext4', '-q', '-F', '-b', '65536', '-d', tree, image, '256M');
  const large = await treeFacts(await treeOfImage(t, folder, image));
  t.deepEqual({ ...large, '': undefined }, { ...expected, '': undefined });
});

when(test, { root: true, tools })(
  'an ext4 that was not unmounted is refused with the way out',
  async (t) => {
    const folder = scratchFolder(t);
    const image = emptyImage(folder, 'mkfs.ext4', '32M');
    const { at } = mounted(t, folder, image);
    writeFileSync(join(at, 'x'), 'x');
    run('sync', '-f', at);
    const copy = join(folder, 'copy.img');
    execFileSync('cp', [image, copy]);
    const error = await t.throwsAsync(treeOfImage(t, folder, copy), { instanceOf: PersonaError });
    t.is(error.code, 'bad-image');
    t.regex(error.message, /journal/);
    t.regex(error.hint, /e2fsck/);
  },
);

when(test, { tools: ['mkfs.ext4'] })('a cut image and an empty one are refused', async (t) => {
  const folder = scratchFolder(t);
  const image = emptyImage(folder, 'mkfs.ext4', '32M');
  truncateSync(image, 20_000_000);
  const error = await t.throwsAsync(treeOfImage(t, folder, image), { code: 'bad-image' });
  t.regex(error?.message ?? '', /cut off/);
  truncateSync(image, 0);
  await t.throwsAsync(treeOfImage(t, folder, image), { code: 'bad-image' });
  const fd = openSync(image, 'r');
  await t.throwsAsync(openExt4(fd, { limits }), { code: 'bad-image' });
  closeSync(fd);
});

when(test, { tools: ['mkfs.ext4', 'mkfs.ext2'] })(
  'damage anywhere ends in a tree or in an error of ours',
  async (t) => {
    const folder = scratchFolder(t);
    const tree = join(folder, 'tree');
    mkdirSync(join(tree, 'many'), { recursive: true });
    for (let i = 0; i < 60; i++)
      writeFileSync(join(tree, 'many', `file-${i}`), `${i}`.repeat(i * 20));
    for (const [program, options] of [
      ['mkfs.ext4', ['-O', '^has_journal']],
      ['mkfs.ext2', []],
    ] as const) {
      const image = join(folder, `${program}.img`);
      run(program, '-q', '-b', '1024', '-N', '128', ...options, '-d', tree, image, '512');
      const whole = readFileSync(image);
      const used = usedBlocks(whole);
      const change = fc.record({
        block: fc.nat(used.length - 1),
        at: fc.nat(1023),
        to: fc.nat(255),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
          const bytes = Buffer.from(whole);
          for (const { block, at, to } of changes) bytes[used[block]! * 1024 + at] = to;
          await successOrPersonaError(async () => readWhole(ext4Tree(bufferSource(bytes), limits)));
        }),
        { numRuns: 1500 },
      );
    }
    t.pass();
  },
);

/** Blocks that hold anything: changes elsewhere would prove nothing. */
function usedBlocks(image: Buffer): number[] {
  const zero = Buffer.alloc(1024);
  const blocks = Array.from({ length: image.length / 1024 }, (_, i) => i);
  return blocks.filter((i) => !image.subarray(i * 1024, (i + 1) * 1024).equals(zero));
}
