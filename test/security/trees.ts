import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/needs.ts';
import { copyPrograms } from '../support/program-tree.ts';

/** A small root tree with the programs that the tests run in slots, at `folder`/`name`. */
export function programTree(folder: string, name = 'base'): string {
  const tree = join(folder, name);
  const programs = ['sh', 'id', 'cat', 'ls', 'head', 'env'].map((one) =>
    run('sh', '-c', `command -v ${one}`).trim(),
  );
  copyPrograms(tree, ...programs);
  writeFileSync(join(tree, 'etc/name'), name);
  writeFileSync(join(tree, 'etc/os-release'), 'ID=test\nVERSION_ID="1"\n');
  writeFileSync(join(tree, 'etc/shadow'), 'root:canary-of-shadow:1:0:99999:7:::\n', {
    mode: 0o640,
  });
  mkdirSync(join(tree, 'root/inner'), { mode: 0o700 });
  chmodSync(join(tree, 'root'), 0o700);
  chmodSync(join(tree, 'tmp'), 0o1777);
  return tree;
}

/** A copy of a tree with another `etc/name`. */
export function changedCopy(tree: string, folder: string, name: string): string {
  const copy = join(folder, name);
  run('cp', '-a', tree, copy);
  writeFileSync(join(copy, 'etc/name'), name);
  return copy;
}

/** Puts into a tree what would give any user root, if the mount of a slot let it. */
export function addPrivileged(tree: string): void {
  const id = run('sh', '-c', 'command -v id').trim();
  run('cp', '-L', id, join(tree, 'suid-id'));
  run('chmod', '6755', join(tree, 'suid-id'));
  run('cp', '-L', id, join(tree, 'cap-id'));
  run('setcap', 'cap_setuid+ep', join(tree, 'cap-id'));
  run('cp', '-L', run('sh', '-c', 'command -v cat').trim(), join(tree, 'cap-cat'));
  run('setcap', 'cap_setuid+ep', join(tree, 'cap-cat'));
  run('mknod', '-m', '666', join(tree, 'disk'), 'b', '8', '0');
  run('mknod', '-m', '666', join(tree, 'zero'), 'c', '1', '5');
}
