import { copyFileSync, existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './needs.ts';

/** Copies programs of this machine with their libraries into a tree, at the same paths. */
export function copyPrograms(tree: string, ...programs: string[]): void {
  for (const folder of ['proc', 'dev', 'tmp', 'run', 'root', 'etc']) {
    mkdirSync(join(tree, folder), { recursive: true });
  }
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(tree, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(tree, name));
  }
  for (const program of programs) {
    copyInto(tree, program);
    for (const [, library] of run('ldd', program).matchAll(/(\/\S+) \(0x/g))
      copyInto(tree, library!);
  }
}

function copyInto(tree: string, path: string): void {
  const to = join(tree, path);
  if (existsSync(to)) return;
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(realpathSync(path), to);
}
