import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { failedWith } from '../../../daemon/kernel/errno.ts';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { removeTree } from '../../../daemon/kernel/remove-tree.ts';
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
