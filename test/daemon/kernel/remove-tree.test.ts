import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { failedWith } from '../../../daemon/kernel/errno.ts';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { mergeFolders } from '../../../daemon/kernel/merge-folders.ts';
import { namesIn, namesLater, openFolder } from '../../../daemon/kernel/openat.ts';
import { removeTree } from '../../../daemon/kernel/remove-tree.ts';
import { treeSize } from '../../../daemon/kernel/tree-size.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

test.serial('a tree goes whole, what its links point to stays', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'kept/inner'), { recursive: true });
  writeFileSync(join(folder, 'kept/inner/file'), 'x');
  mkdirSync(join(folder, 'tree/a/b'), { recursive: true });
  writeFileSync(join(folder, 'tree/a/b/file'), 'x');
  symlinkSync('../kept', join(folder, 'tree/link'));
  symlinkSync('../../kept/inner', join(folder, 'tree/a/link'));
  await removeTree(join(folder, 'tree'));
  t.deepEqual(readdirSync(folder), ['kept']);
  t.true(existsSync(join(folder, 'kept/inner/file')));
  await removeTree(join(folder, 'tree'));
});

test.serial('a link in the place of the tree is removed itself', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'kept/inner'), { recursive: true });
  symlinkSync('kept', join(folder, 'tree'));
  await removeTree(join(folder, 'tree'));
  t.deepEqual(readdirSync(folder), ['kept']);
  t.true(existsSync(join(folder, 'kept/inner')));
});

test.serial('a tree deeper than descriptors reach is removed', async (t) => {
  const folder = temporaryFolder(t);
  const before = openFds();
  let at = join(folder, 'tree');
  mkdirSync(at);
  for (let depth = 0; depth < 400; depth += 1) {
    at = join(at, 'd');
    mkdirSync(at);
    writeFileSync(join(at, 'f'), 'x');
  }
  await removeTree(join(folder, 'tree'));
  t.deepEqual(readdirSync(folder), []);
  t.is(openFds(), before);
});

when(test, { root: true })('a mount inside is not entered', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'tree/mnt'), { recursive: true });
  run('mount', '-t', 'tmpfs', 'personad-test', join(folder, 'tree/mnt'));
  t.teardown(() => run('umount', join(folder, 'tree/mnt')));
  writeFileSync(join(folder, 'tree/mnt/file'), 'x');
  const error = await t.throwsAsync(removeTree(join(folder, 'tree')));
  t.true(failedWith(error, 'EXDEV', 'EBUSY'));
  t.true(existsSync(join(folder, 'tree/mnt/file')));
});

test.serial(
  'a folder with more names than can be listed at once lets other work go on',
  async (t) => {
    const folder = temporaryFolder(t);
    const [many, merged] = [join(folder, 'many'), join(folder, 'merged')];
    const count = 2_100;
    for (const place of [many, merged]) mkdirSync(place);
    for (let at = 0; at < count; at += 1) writeFileSync(join(many, `${at}\xe9`), '');
    let went = 0;
    let stops = false;
    const other = () => {
      went += 1;
      if (!stops) setImmediate(other);
    };
    setImmediate(other);
    t.teardown(() => {
      stops = true;
    });

    using dir = openFolder(many);
    const names = await namesLater(dir);
    t.true(went >= 2);
    t.deepEqual(names.toSorted(), namesIn(dir).toSorted());
    t.is((await treeSize(many)).entries, count);
    if (process.getuid?.() === 0) {
      using target = openFolder(merged);
      await mergeFolders([dir], target, new AbortController().signal);
      t.deepEqual(namesIn(target).toSorted(), names.toSorted());
    }
    await removeTree(many);
    t.deepEqual(readdirSync(folder), ['merged']);
  },
);
