import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ReadText, readTexts, type TextRules } from '../../../daemon/kernel/bounded-files.ts';
import { installedProgram } from '../../../daemon/kernel/installed-programs.ts';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { run } from '../../support/needs.ts';

const rules: TextRules = {
  suffix: '.txt',
  depthMax: 1,
  filesMax: 10,
  bytesMax: 100,
  totalMax: 250,
};

function place(t: ExecutionContext, files: Record<string, string | Buffer>): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-texts-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content, { mode: 0o644 });
  }
  return folder;
}

function read(folder: string, more: Partial<TextRules> = {}, below = 'in') {
  using root = openFolder(folder);
  const texts: ReadText[] = [];
  const refused = readTexts(root, below, { ...rules, ...more }, (one) => texts.push(one));
  return {
    texts: texts.map(({ path, text }) => `${path}=${text}`),
    refused: refused.map(({ path, reason }) => `${path}: ${reason}`),
  };
}

test('texts are read by name, also of folders below, and nothing of another kind', (t) => {
  const folder = place(t, {
    'in/b.txt': 'b',
    'in/a.txt': 'ä',
    'in/other': 'no',
    'in/sub/c.txt': 'c',
    'out.txt': 'no',
  });
  t.deepEqual(read(folder), {
    texts: ['/in/a.txt=ä', '/in/b.txt=b', '/in/sub/c.txt=c'],
    refused: [],
  });
  t.deepEqual(read(folder, {}, 'in/a.txt').texts, ['/in/a.txt=ä']);
  t.deepEqual(read(folder, {}, 'nothing'), { texts: [], refused: [] });
  t.deepEqual(read(folder, {}, 'out.txt/x'), { texts: [], refused: [] });
});

test('what is too large, too deep, too many or no text is left out, and told', (t) => {
  const folder = place(t, {
    'in/a.txt': 'x'.repeat(101),
    'in/b.txt': Buffer.from([0xc3, 0x28]),
    'in/c.txt': 'c'.repeat(90),
    'in/sub/deep/d.txt': 'd',
  });
  const { texts, refused } = read(folder);
  t.deepEqual(texts.length, 1);
  t.deepEqual(refused, [
    'in/a.txt: it is larger than 100 bytes',
    'in/b.txt: it is no UTF-8 text',
    'in/sub/deep: it lies too deep',
  ]);
  const many = place(t, { 'in/a.txt': 'a', 'in/b.txt': 'b', 'in/c.txt': 'c' });
  t.deepEqual(read(many, { filesMax: 1 }), {
    texts: ['/in/a.txt=a'],
    refused: ['in/b.txt: there are more than 1 files: neither this one nor what follows is read'],
  });
  t.deepEqual(read(many, { totalMax: 2 }).texts.length, 2);
});

test('nobody waits for a pipe, and links do not lead out', (t) => {
  const folder = place(t, { 'in/a.txt': 'a', 'in/real/x.txt': 'x', 'secret.txt': 's' });
  run('mkfifo', join(folder, 'in/pipe.txt'));
  symlinkSync('/secret.txt', join(folder, 'in/inside.txt'));
  symlinkSync('/etc/passwd', join(folder, 'in/outside.txt'));
  symlinkSync('real', join(folder, 'in/folder.txt'));
  const followed = read(folder, { depthMax: 2 });
  t.deepEqual(followed.texts, [
    '/in/a.txt=a',
    '/in/folder.txt/x.txt=x',
    '/in/inside.txt=s',
    '/in/real/x.txt=x',
  ]);
  t.deepEqual(followed.refused, ['in/outside.txt: ENOENT', 'in/pipe.txt: it is no regular file']);
  const strict = read(folder, { ownedBy: process.getuid?.() ?? 0 });
  t.deepEqual(strict.texts, ['/in/a.txt=a', '/in/real/x.txt=x']);
  t.is(strict.refused.filter((one) => one.includes('it is a link')).length, 3);
});

test('a file that others can write is not read where it must be owned', (t) => {
  const folder = place(t, { 'in/a.txt': 'a', 'in/b.txt': 'b' });
  chmodSync(join(folder, 'in/a.txt'), 0o664);
  const { texts, refused } = read(folder, { ownedBy: process.getuid?.() ?? 0 });
  t.deepEqual(texts, ['/in/b.txt=b']);
  t.deepEqual(refused, ['in/a.txt: others than its owner can write it']);
});

test('a program is found by path and by name, behind links of its own machine', (t) => {
  const folder = place(t, { 'usr/bin/paint-2': '#!', 'usr/bin/plain': 'text', 'etc/x': '' });
  chmodSync(join(folder, 'usr/bin/paint-2'), 0o755);
  symlinkSync('/etc/alternatives/paint', join(folder, 'usr/bin/paint'));
  mkdirSync(join(folder, 'etc/alternatives'));
  symlinkSync('/usr/bin/paint-2', join(folder, 'etc/alternatives/paint'));
  symlinkSync('/bin/sh', join(folder, 'usr/bin/away'));
  using root = openFolder(folder);
  const paint = installedProgram(root, 'paint');
  t.like(paint, { path: '/usr/bin/paint', real: '/usr/bin/paint-2' });
  t.is(installedProgram(root, '/usr/bin/paint-2')?.inode, paint?.inode);
  for (const name of ['plain', 'away', 'nothing', 'bin/paint', '/usr/bin', '/usr/bin/plain'])
    t.is(installedProgram(root, name), undefined, name);
});
