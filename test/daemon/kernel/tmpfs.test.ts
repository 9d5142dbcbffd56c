import { lstatSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { mountFlags } from '../../../daemon/kernel/stat-mount.ts';
import { mountTmpfs } from '../../../daemon/kernel/tmpfs.ts';
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
