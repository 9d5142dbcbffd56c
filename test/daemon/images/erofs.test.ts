import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { openErofs } from '../../../daemon/images/erofs-reader.ts';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { itemsOf, type Tree } from '../../../daemon/images/tree.ts';
import { mountErofs } from '../../../daemon/kernel/erofs.ts';
import { Fd } from '../../../daemon/kernel/fd.ts';
import { attach, unmount } from '../../../daemon/kernel/mounts.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { modelTree, snapshot, treeOfModel } from '../../support/tree-arbitrary.ts';

const limits = defaultLimits;

async function write(tree: Tree, path: string): Promise<Buffer> {
  const fd = openSync(path, 'wx+');
  await writeErofs(itemsOf(tree), fd);
  closeSync(fd);
  return readFileSync(path);
}

test('what is written is read back, and written again gives the same bytes', async (t) => {
  const folder = scratchFolder(t);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(modelTree, async (model) => {
      round += 1;
      const path = join(folder, `${round}.erofs`);
      const first = await write(treeOfModel(model), path);
      const fd = openSync(path, 'r');
      const tree = await openErofs(fd, { limits });
      t.deepEqual(await snapshot(tree), await snapshot(treeOfModel(model)));
      t.true(first.equals(await write(tree, `${path}.again`)));
      closeSync(fd);
    }),
    { numRuns: 60 },
  );
});

when(test, { tools: ['fsck.erofs'] })('fsck.erofs accepts what is written', async (t) => {
  const folder = scratchFolder(t);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(modelTree, async (model) => {
      const path = join(folder, `${++round}.erofs`);
      await write(treeOfModel(model), path);
      t.notThrows(() => run('fsck.erofs', path));
    }),
    { numRuns: 25 },
  );
});

for (const way of ['file', 'loop'] as const) {
  when(test, { root: true })(`the kernel shows what was written (${way})`, async (t) => {
    const folder = scratchFolder(t);
    const source = join(folder, 'source');
    const at = join(folder, 'at');
    mkdirSync(source);
    mkdirSync(at);
    fillOddTree(source);
    const wanted = treeOfFolder(source);
    const path = join(folder, 'odd.erofs');
    await write(wanted, path);
    using file = new Fd(openSync(path, 'r'), path);
    const mount = await mountErofs({ file }, way);
    attach(mount, at);
    t.deepEqual(await snapshot(treeOfFolder(at)), await snapshot(wanted));
    await mount.closeLater();
    await unmount(at);
  });
}

for (const options of [
  [],
  ['-Eforce-inode-compact'],
  ['-Eforce-inode-extended'],
  ['--chunksize=4096'],
  ['--chunksize=65536', '-Eforce-chunk-indexes'],
]) {
  const title = `images of mkfs.erofs are read: ${options.join(' ') || 'default'}`;
  when(test, { root: true, tools: ['mkfs.erofs'] })(title, async (t) => {
    const folder = scratchFolder(t);
    const source = join(folder, 'source');
    mkdirSync(source);
    fillOddTree(source);
    // This version of the tool cannot write names of 255 bytes.
    run('rm', '-f', join(source, 'home/user', 'n'.repeat(255)));
    // Compact inodes have 16-bit owners and no times of their own.
    const compact = options.includes('-Eforce-inode-compact');
    if (compact) run('chown', '-Rh', '7:8', source);
    const path = join(folder, 'made.erofs');
    run('mkfs.erofs', '--quiet', '-x1', ...(compact ? ['-T5'] : []), ...options, path, source);
    const fd = openSync(path, 'r');
    const strip = (all: object[]) =>
      compact ? all.map((e) => ({ ...e, mtime: 0, mtimeNs: 0 })) : all;
    const found = strip(await snapshot(await openErofs(fd, { limits })));
    t.deepEqual(found, strip(await snapshot(treeOfFolder(source))));
    closeSync(fd);
  });
}

when(test, { tools: ['mkfs.erofs'] })(
  'a compressed image is refused with the way out',
  async (t) => {
    const folder = scratchFolder(t);
    const source = join(folder, 'source');
    mkdirSync(source);
    run('dd', 'if=/dev/zero', `of=${join(source, 'large')}`, 'bs=64K', 'count=4', 'status=none');
    const path = join(folder, 'made.erofs');
    run('mkfs.erofs', '--quiet', '-zlz4', path, source);
    const fd = openSync(path, 'r');
    const error = await t.throwsAsync(openErofs(fd, { limits }));
    t.like(error, { code: 'not-supported' });
    t.regex(error?.message ?? '', /tar/);
    closeSync(fd);
  },
);
