import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { failedWith } from '../../../daemon/kernel/errno.ts';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { OPEN, openBeneath, openFolder, openInRoot } from '../../../daemon/kernel/openat.ts';
import { temporaryFolder } from '../../support/temp.ts';

const ROUNDS = 3_000;

/** Swaps `name` between a folder and a link, as fast as it can, until it is ended. */
const RENAMER = `
const fs = require('node:fs');
const [folder, name] = process.argv.slice(1);
const at = (n) => folder + '/' + n;
process.stdout.write('go');
for (;;) {
  fs.renameSync(at(name), at(name + '.kept'));
  fs.renameSync(at(name + '.link'), at(name));
  fs.renameSync(at(name), at(name + '.link'));
  fs.renameSync(at(name + '.kept'), at(name));
}`;

function layOut(folder: string, position: number): { tree: string; at: string; name: string } {
  const outside = join(folder, 'outside');
  mkdirSync(join(outside, 'b/c'), { recursive: true });
  mkdirSync(join(outside, 'c'), { recursive: true });
  for (const place of ['b/c/file', 'c/file', 'file'])
    writeFileSync(join(outside, place), 'outside');
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'a/b/c'), { recursive: true });
  writeFileSync(join(tree, 'a/b/c/file'), 'inside');
  const names = ['a', 'b', 'c', 'file'];
  const name = names[position]!;
  const at = join(tree, ...names.slice(0, position));
  const targets = [outside, join(outside, 'b'), join(outside, 'c'), join(outside, 'file')];
  symlinkSync(targets[position]!, join(at, `${name}.link`));
  return { tree, at, name };
}

for (const position of [0, 1, 2, 3]) {
  test(`openBeneath() never leaves while component ${position} turns into a link`, async (t) => {
    const { tree, at, name } = layOut(temporaryFolder(t), position);
    const renamer = spawn(process.execPath, ['-e', RENAMER, at, name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(renamer, 'exit');
    await once(renamer.stdout, 'data');
    const dir = openFolder(tree);
    let opened = 0;
    let refused = 0;
    try {
      for (let round = 0; round < ROUNDS || opened === 0; round += 1) {
        try {
          using file = openBeneath(dir, 'a/b/c/file');
          t.is(readFileSync(file.number, 'utf8'), 'inside');
          opened += 1;
        } catch (error) {
          if (!failedWith(error, 'ELOOP', 'ENOENT', 'EXDEV', 'EAGAIN', 'ENOTDIR')) throw error;
          refused += 1;
        }
        try {
          using file = openInRoot(dir, 'a/b/c/file');
          t.is(readFileSync(file.number, 'utf8'), 'inside');
        } catch (error) {
          if (!failedWith(error, 'ENOENT', 'EAGAIN', 'ELOOP')) throw error;
        }
      }
    } finally {
      dir.close();
      renamer.kill('SIGKILL');
      await gone;
    }
    t.true(opened > 0);
    t.log(`${opened} opened, ${refused} refused`);
  });
}

test('openBeneath() refuses the ways out', (t) => {
  const folder = temporaryFolder(t);
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  writeFileSync(join(folder, 'secret'), 'x');
  symlinkSync('../secret', join(tree, 'up'));
  symlinkSync('/etc/passwd', join(tree, 'absolute'));
  symlinkSync('/proc/self/root', join(tree, 'magic'));
  const before = openFds();
  const dir = openFolder(tree);
  for (const [path, code] of [
    ['../secret', 'EXDEV'],
    ['/etc/passwd', 'EXDEV'],
    ['up', 'ELOOP'],
    ['absolute', 'ELOOP'],
    ['magic/etc/passwd', 'ELOOP'],
  ] as const) {
    const error = t.throws(() => openBeneath(dir, path), undefined, path);
    t.true(failedWith(error, code), `${path}: ${String(error)}`);
  }
  dir.close();
  t.is(openFds(), before);
});

test('openInRoot() keeps absolute links and ".." inside, and refuses magic links', (t) => {
  const tree = temporaryFolder(t);
  mkdirSync(join(tree, 'etc'));
  writeFileSync(join(tree, 'etc/passwd'), 'inside');
  symlinkSync('/etc/passwd', join(tree, 'absolute'));
  symlinkSync('../../../../etc/passwd', join(tree, 'up'));
  const dir = openFolder(tree);
  t.teardown(() => dir.close());
  for (const path of ['absolute', 'up', '/etc/passwd', '../../etc/passwd']) {
    using file = openInRoot(dir, path);
    t.is(readFileSync(file.number, 'utf8'), 'inside', path);
  }
  const proc = openFolder('/proc');
  t.teardown(() => proc.close());
  const error = t.throws(() => openInRoot(proc, 'self/root/etc/passwd'));
  t.true(failedWith(error, 'ELOOP'));
});

test('names of any bytes are opened', (t) => {
  const tree = temporaryFolder(t);
  const odd = 'a\n\xff\xfe b';
  writeFileSync(join(tree, 'plain'), 'x');
  renameSync(
    join(tree, 'plain'),
    Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(odd, 'latin1')]),
  );
  const dir = openFolder(tree);
  t.teardown(() => dir.close());
  using file = openBeneath(dir, odd, { flags: OPEN.read });
  t.is(readFileSync(file.number, 'utf8'), 'x');
});
