import { chmodSync, closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { applyDiff } from '../../../daemon/images/apply.ts';
import { diffTrees } from '../../../daemon/images/diff.ts';
import { isWhiteout } from '../../../daemon/images/entry.ts';
import { openErofs } from '../../../daemon/images/erofs-reader.ts';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { itemsOf, type Tree, treeOf } from '../../../daemon/images/tree.ts';
import { mountErofs } from '../../../daemon/kernel/erofs.ts';
import { Fd } from '../../../daemon/kernel/fd.ts';
import { createMount, type FsOption } from '../../../daemon/kernel/fs-context.ts';
import { attach, unmount } from '../../../daemon/kernel/mounts.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { newUpper, scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { modelPair, snapshot, treeOfModel } from '../../support/tree-arbitrary.ts';

test('a layer applied to its base gives the wanted tree, without the kernel', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelPair, async ({ base, wanted }) => {
      const from = treeOfModel(base);
      const to = treeOfModel(wanted);
      const layer = await diffTrees(from, to);
      t.deepEqual(await snapshot(applyDiff(from, layer)), await snapshot(to));
    }),
    { numRuns: 300 },
  );
});

test('equal trees give a layer that holds nothing but the root', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelPair, async ({ wanted }) => {
      const layer = await diffTrees(treeOfModel(wanted), treeOfModel(wanted));
      t.deepEqual(
        layer.entries.map(({ path }) => path),
        [''],
      );
    }),
    { numRuns: 50 },
  );
});

test('a removed folder is one whiteout, below parents with their own metadata', async (t) => {
  const dir = {
    type: 'dir' as const,
    mode: 0o700,
    uid: 5,
    gid: 6,
    mtime: 7,
    mtimeNs: 8,
    xattrs: [],
  };
  const file = { ...dir, type: 'file' as const, size: 0 };
  const none = async function* () {};
  const base = treeOf(
    [
      { ...dir, path: '' },
      { ...dir, path: 'a' },
      { ...dir, path: 'a/b' },
      { ...file, path: 'a/b/c' },
      { ...file, path: 'a/b-c' },
    ],
    none,
  );
  const wanted = treeOf([base.entries[0]!, base.entries[1]!, base.entries[4]!], none);
  const { entries } = await diffTrees(base, wanted);
  t.deepEqual(
    entries.map(({ path }) => path),
    ['', 'a', 'a/b'],
  );
  t.like(entries[1], dir);
  t.true(isWhiteout(entries[2]!));
});

test('a wanted tree with a whiteout of its own is refused', async (t) => {
  const root = { path: '', type: 'dir' as const, mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
  const none = async function* () {};
  const empty = treeOf([{ ...root, xattrs: [] }], none);
  const mark = {
    ...root,
    path: 'x',
    type: 'char' as const,
    xattrs: [],
    rdev: [0, 0] as [number, number],
  };
  const marked = treeOf([...empty.entries, mark], none);
  const error = await t.throwsAsync(diffTrees(empty, marked));
  t.like(error, { code: 'bad-image' });
});

async function imageOf(tree: Tree, path: string): Promise<Fd> {
  const fd = openSync(path, 'wx+');
  await writeErofs(itemsOf(tree), fd);
  closeSync(fd);
  return new Fd(openSync(path, 'r'), path);
}

/** Mounts both images, reads what overlayfs shows, and takes everything off again. */
async function shownByKernel(
  folder: string,
  base: Fd,
  diff: Fd,
  upper: boolean,
): Promise<object[]> {
  const at = join(folder, 'merged');
  mkdirSync(at, { recursive: true });
  const below = await mountErofs({ file: base }, 'loop');
  const above = await mountErofs({ file: diff }, 'loop');
  const options: FsOption[] = [
    { key: 'source', text: 'persona:test' },
    { key: 'lowerdir+', text: above.path },
    { key: 'lowerdir+', text: below.path },
    { key: 'index', text: 'off' },
    { key: 'metacopy', text: 'off' },
    { key: 'redirect_dir', text: 'off' },
    { key: 'xino', text: 'auto' },
  ];
  if (upper) {
    const place = newUpper(folder);
    options.push(
      { key: 'upperdir', text: `${place}/fs` },
      { key: 'workdir', text: `${place}/work` },
    );
  }
  try {
    const overlay = await createMount('overlay', options, 0);
    attach(overlay, at);
    try {
      return await snapshot(treeOfFolder(at));
    } finally {
      await overlay.closeLater();
      await unmount(at);
    }
  } finally {
    await above.closeLater();
    await below.closeLater();
  }
}

for (const upper of [false, true]) {
  const where = upper ? ' below an empty upper' : '';
  when(test, { root: true })(`overlayfs shows the wanted tree${where}`, async (t) => {
    const folder = scratchFolder(t);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(modelPair, async (models) => {
        run += 1;
        await checkByKernel(t, join(folder, `${run}`), models, upper);
      }),
      { numRuns: 20 },
    );
  });
}

when(test, { root: true, tools: ['mkfs.erofs'] })(
  'an upper that the kernel wrote is read as a layer',
  async (t) => {
    const folder = scratchFolder(t);
    const place = newUpper(folder);
    const [lower, merged] = [join(folder, 'lower'), join(folder, 'merged')];
    mkdirSync(merged);
    for (const name of ['a', 'b', 'kept', 'again']) {
      mkdirSync(join(lower, name), { recursive: true });
      writeFileSync(join(lower, name, 'file'), name);
      writeFileSync(join(lower, name, 'other'), name);
    }
    chmodSync(place, 0o755);
    const layers = `lowerdir=${lower},upperdir=${place}/fs,workdir=${place}/work`;
    run('mount', '-t', 'overlay', '-o', `${layers},index=off,redirect_dir=off`, 'test', merged);
    // Several deletions: their marks share one inode in the upper.
    for (const gone of ['a', 'b/file', 'kept/file'])
      rmSync(join(merged, gone), { recursive: true });
    rmSync(join(merged, 'again'), { recursive: true });
    mkdirSync(join(merged, 'again'));
    writeFileSync(join(merged, 'again', 'new'), 'new');
    chmodSync(join(merged, 'kept', 'other'), 0o600);
    const shown = await snapshot(treeOfFolder(merged));
    await unmount(merged);
    const base = treeOfFolder(lower);
    // As a reader of any other format sees it, and as our erofs reader does.
    const marks = treeOfFolder(join(place, 'fs')).entries.filter(isWhiteout);
    t.is(marks.length, 3);
    const image = join(folder, 'upper.erofs');
    run('mkfs.erofs', '--quiet', image, join(place, 'fs'));
    using file = new Fd(openSync(image, 'r'), image);
    const layer = await openErofs(file.number, { limits: defaultLimits, kind: 'layer' });
    t.is(layer.entries.filter(isWhiteout).length, 3);
    t.deepEqual(await snapshot(applyDiff(base, layer)), shown);
  },
);

async function checkByKernel(
  t: ExecutionContext,
  folder: string,
  models: { base: Parameters<typeof treeOfModel>[0]; wanted: Parameters<typeof treeOfModel>[0] },
  upper: boolean,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  using base = await imageOf(treeOfModel(models.base), join(folder, 'base.erofs'));
  const wanted = treeOfModel(models.wanted);
  // Through the images, as the daemon does it.
  using image = await imageOf(wanted, join(folder, 'wanted.erofs'));
  const limits = defaultLimits;
  const layer = await diffTrees(
    await openErofs(base.number, { limits }),
    await openErofs(image.number, { limits }),
  );
  using diff = await imageOf(layer, join(folder, 'diff.erofs'));
  const found = await shownByKernel(folder, base, diff, upper);
  const expected = await snapshot(wanted);
  // The root's own metadata is that of the upper: whoever makes an upper copies it there.
  const from = upper ? 1 : 0;
  t.deepEqual(found.slice(from), expected.slice(from));
}
