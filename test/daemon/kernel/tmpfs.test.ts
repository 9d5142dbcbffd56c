import { closeSync, lstatSync, openSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { mountFlags } from '../../../daemon/kernel/stat-mount.ts';
import { holdsMore, mountTmpfs, resizeTmpfs } from '../../../daemon/kernel/tmpfs.ts';
import { when } from '../../support/needs.ts';

const MiB = 2 ** 20;
const shape = { bytes: 2 * MiB, source: 'persona-test', uid: 31_001, gid: 31_002 };

when(test, { root: true })('a memory file system is bounded, and its owner’s alone', async (t) => {
  const { mount } = await mountTmpfs(shape);
  t.teardown(() => mount.closeLater());
  const { uid, gid, mode } = lstatSync(`${mount.path}/.`);
  t.deepEqual([uid, gid, mode & 0o7777], [31_001, 31_002, 0o700]);
  t.like(mountFlags(mount), { nosuid: true, nodev: true });
  const { blocks, bsize, files } = statfsSync(mount.path);
  t.is(blocks * bsize, 2 * MiB);
  t.is(files, 1024);
  const file = join(mount.path, 'file');
  writeFileSync(file, Buffer.alloc(MiB));
  t.throws(() => writeFileSync(join(mount.path, 'more'), Buffer.alloc(MiB + 4096)), {
    code: 'ENOSPC',
  });
});

when(test, { root: true })('it gets another size while a file in it is written', async (t) => {
  const { mount, swaps } = await mountTmpfs(shape);
  t.teardown(() => mount.closeLater());
  const file = openSync(join(mount.path, 'file'), 'wx');
  t.teardown(() => closeSync(file));
  const piece = Buffer.alloc(2 * MiB, 'x');
  t.is(writeSync(file, piece), 2 * MiB);
  t.throws(() => writeSync(file, piece), { code: 'ENOSPC' });
  await resizeTmpfs(mount, { bytes: 16 * MiB, swaps });
  t.is(writeSync(file, piece), 2 * MiB);
  const { blocks, bsize, files } = statfsSync(mount.path);
  t.is(blocks * bsize, 16 * MiB);
  t.is(files, 2048);
  const { uid, gid, mode } = lstatSync(`${mount.path}/.`);
  t.deepEqual([uid, gid, mode & 0o7777], [31_001, 31_002, 0o700]);
});

when(test, { root: true })('it never gets smaller than what it holds', async (t) => {
  const { mount, swaps } = await mountTmpfs({ ...shape, bytes: 16 * MiB });
  t.teardown(() => mount.closeLater());
  const refused = async (bytes: number) => {
    const error = await t.throwsAsync(resizeTmpfs(mount, { bytes, swaps }), { code: 'EINVAL' });
    t.true(holdsMore(error), error.message);
    t.is(statfsSync(mount.path).blocks * 4096, 16 * MiB);
  };
  writeFileSync(join(mount.path, 'file'), Buffer.alloc(3 * MiB));
  await refused(3 * MiB - 4096);
  for (let i = 0; i < 1100; i += 1) writeFileSync(join(mount.path, `${i}`), '');
  await refused(8 * MiB);
  await resizeTmpfs(mount, { bytes: 12 * MiB, swaps });
  t.is(statfsSync(mount.path).blocks * 4096, 12 * MiB);
});
