import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import { itemsOf, type Tree } from '../../../daemon/images/tree.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { mountImage } from '../../support/mount-image.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { builtLayout, layoutTar } from '../../support/oci-builder.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { treeOfImage } from '../../support/tree-facts.ts';

/** The digest of the image that is made of a tree: equal for equal trees, wherever they come from. */
async function imageDigest(folder: string, tree: Tree): Promise<string> {
  const path = join(folder, `image-${Math.random()}.erofs`);
  const fd = openSync(path, 'wx+');
  await writeErofs(itemsOf(tree), fd);
  closeSync(fd);
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** A tree of what every one of the formats can hold. */
function commonTree(folder: string): string {
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  fillOddTree(tree, { small: true });
  // squashfs keeps no access lists and no times before 1970; tar no sockets.
  run('setfacl', '-R', '-b', tree);
  run('touch', '-d', '@86400', join(tree, 'foo/b'));
  return tree;
}

function ext4Of(t: ExecutionContext, folder: string, tree: string): string {
  const image = join(folder, 'x.ext4');
  const at = join(folder, 'at');
  run('mkfs.ext4', '-q', image, '64M');
  mkdirSync(at);
  mountImage(image, at);
  let mounted = true;
  const off = () => {
    if (mounted) run('umount', at);
    mounted = false;
  };
  t.teardown(off);
  // Not mkfs -d, which gives the root a time of its own.
  run('cp', '-a', '--sparse=never', `${tree}/.`, at);
  off();
  return image;
}

when(test, {
  root: true,
  tools: ['tar', 'mkfs.ext4', 'mksquashfs', 'zstd', 'setfacl', 'setfattr', 'setcap', 'cp'],
})('the same tree gives the same image, whatever it comes in', async (t) => {
  const folder = scratchFolder(t);
  const tree = commonTree(folder);
  const tar = join(folder, 'x.tar');
  execFileSync('tar', ['--xattrs', '--acls', '--sparse', '-cf', tar, '-C', tree, '.']);
  execFileSync('tar', ['--xattrs', '-cf', join(folder, 'full.tar'), '-C', tree, '.']);
  run('zstd', '-q', join(folder, 'full.tar'));
  run('gzip', '-k', tar);
  run('mksquashfs', tree, join(folder, 'x.squashfs'), '-quiet', '-no-progress');
  const layout = builtLayout({ layers: [readFileSync(tar)], packing: ['gzip'] });
  writeFileSync(join(folder, 'oci.tar'), layoutTar(layout));
  const ext4 = ext4Of(t, folder, tree);
  const expected = await imageDigest(folder, treeOfFolder(tree));
  const own = join(folder, 'own.erofs');
  const fd = openSync(own, 'wx+');
  await writeErofs(itemsOf(treeOfFolder(tree)), fd);
  closeSync(fd);
  const files = ['x.tar', 'x.tar.gz', 'full.tar.zst', 'x.squashfs', 'oci.tar', 'own.erofs'];
  for (const file of [...files.map((name) => join(folder, name)), ext4]) {
    t.is(await imageDigest(folder, await treeOfImage(t, folder, file)), expected, file);
  }
  rmSync(tree, { recursive: true });
});
