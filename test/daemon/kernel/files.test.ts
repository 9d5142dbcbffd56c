import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { failedWith } from '../../../daemon/kernel/errno.ts';
import {
  ensureFolder,
  exists,
  lockFile,
  moveDurably,
  preallocate,
  removeFile,
  removeFolder,
  syncFileSystem,
  writeDurably,
} from '../../../daemon/kernel/files.ts';
import { canonicalJson, readRecord, writeRecord } from '../../../daemon/kernel/records.ts';
import { createSealed, hashOf, openSealed } from '../../../daemon/kernel/sealed.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('writeDurably() replaces a file whole and leaves nothing beside it', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'file');
  await writeDurably(path, 'one');
  await writeDurably(path, 'two', 0o400);
  t.is(readFileSync(path, 'utf8'), 'two');
  t.is(statSync(path).mode & 0o777, 0o400);
  t.deepEqual(readdirSync(folder), ['file']);
  mkdirSync(join(folder, 'taken'));
  await t.throwsAsync(writeDurably(join(folder, 'taken'), 'x'));
  t.deepEqual(readdirSync(folder).sort(), ['file', 'taken']);
});

test('folders: made once, refused over a link, moved and removed', async (t) => {
  const folder = temporaryFolder(t);
  await ensureFolder(join(folder, 'a'));
  await ensureFolder(join(folder, 'a'));
  t.is(statSync(join(folder, 'a')).mode & 0o777, 0o700);
  symlinkSync('a', join(folder, 'link'));
  t.true(failedWith(await t.throwsAsync(ensureFolder(join(folder, 'link'))), 'ENOTDIR'));
  await ensureFolder(join(folder, 'a/b'));
  await moveDurably(join(folder, 'a/b'), join(folder, 'c'));
  t.true(await exists(join(folder, 'c')));
  await removeFolder(join(folder, 'c'));
  await removeFolder(join(folder, 'c'));
  await removeFile(join(folder, 'link'));
  await removeFile(join(folder, 'link'));
  t.deepEqual(readdirSync(folder), ['a']);
  await syncFileSystem(folder);
});

test('a lock has one holder, also within one process, and is free after closing', async (t) => {
  const path = join(temporaryFolder(t), 'lock');
  const lock = await lockFile(path);
  t.truthy(lock);
  t.is(await lockFile(path), undefined);
  lock?.close();
  const again = await lockFile(path);
  t.truthy(again);
  again?.close();
});

test('preallocate() takes real blocks', async (t) => {
  const path = join(temporaryFolder(t), 'reserve');
  await preallocate(path, 1 << 20);
  t.true(statSync(path).blocks * 512 >= 1 << 20);
});

when(test, { root: true })('a full disk: writeDurably() keeps the old bytes', async (t) => {
  const folder = temporaryFolder(t);
  run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'personad-test', folder);
  t.teardown(() => run('umount', folder));
  const path = join(folder, 'file');
  await writeDurably(path, 'old');
  const error = await t.throwsAsync(writeDurably(path, Buffer.alloc(1 << 20)));
  t.true(failedWith(error, 'ENOSPC'));
  t.is(readFileSync(path, 'utf8'), 'old');
  t.deepEqual(readdirSync(folder), ['file']);
  t.true(failedWith(await t.throwsAsync(preallocate(join(folder, 'r'), 1 << 20)), 'ENOSPC'));
});

test('a record is read back, a damaged or foreign one is not', async (t) => {
  const path = join(temporaryFolder(t), 'x.json');
  const body = { digest: 'sha256:ab', list: [1, { b: 2, a: 1 }] };
  await writeRecord(path, 'layer', body);
  t.deepEqual(await readRecord(path, 'layer'), body);
  t.is(await readRecord(path, 'upper'), undefined);
  t.is(await readRecord(`${path}.none`, 'layer'), undefined);
  const text = readFileSync(path, 'utf8');
  chmodSync(path, 0o600);
  writeFileSync(path, text.replace('sha256:ab', 'sha256:ac'));
  t.is(await readRecord(path, 'layer'), undefined);
  writeFileSync(path, text.slice(0, 40));
  t.is(await readRecord(path, 'layer'), undefined);
  t.is(canonicalJson({ b: 1, a: { d: 1, c: 2 } }), '{"a":{"c":2,"d":1},"b":1}');
});

test('hashOf() hashes what a sealed file holds, or a part of it', async (t) => {
  const folder = temporaryFolder(t);
  const made = await createSealed(join(folder, 'a'));
  await made.writeFile('hello world');
  await made.close();
  const expected = 'sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9';
  t.is(statSync(join(folder, 'a')).mode & 0o777, 0o400);
  const handle = await openSealed(join(folder, 'a'));
  t.is(await hashOf(handle), expected);
  t.is(
    await hashOf(handle, { offset: 6, length: 5 }),
    'sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7',
  );
  await t.throwsAsync(hashOf(handle, { offset: 6, length: 6 }));
  await handle.close();
});
