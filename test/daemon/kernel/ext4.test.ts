import {
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import {
  ext4Identity,
  growExt4,
  isExt4Of,
  makeExt4,
  mountExt4,
  readExt4,
} from '../../../daemon/kernel/ext4.ts';
import { Fd } from '../../../daemon/kernel/fd.ts';
import { preallocate } from '../../../daemon/kernel/files.ts';
import { findLoop } from '../../../daemon/kernel/loop-find.ts';
import { attachLoop } from '../../../daemon/kernel/loops.ts';
import { attach, unmount } from '../../../daemon/kernel/mounts.ts';
import { findProgram } from '../../../daemon/kernel/probe-host.ts';
import { mountFlags, statMount } from '../../../daemon/kernel/stat-mount.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

const rooted = when(test, { root: true, tools: ['mkfs.ext4', 'resize2fs', 'fstrim'] });
const MiB = 1024 ** 2;
const UUID = '6f0a4b5e-3a0e-4d5b-9a53-0b9b1f8a7c11';
const NAME = 'volume.ext4';

function opened(path: string): Fd {
  return new Fd(openSync(path, constants.O_RDWR), path);
}

/** A new, whole image in a folder of the test's own. */
async function image(t: ExecutionContext): Promise<{ folder: string; path: string }> {
  const folder = scratchFolder(t);
  const path = `${folder}/${NAME}`;
  await preallocate(path, 64 * MiB);
  await makeExt4(findProgram('mkfs.ext4') ?? '', path, UUID, 'a-label');
  await preallocate(path, 64 * MiB);
  return { folder, path };
}

const owned = (path: string): number => statSync(path).blocks * 512;

rooted('an image says what it is, and a file without one says nothing', async (t) => {
  const { folder, path } = await image(t);
  t.deepEqual(readExt4(path), { uuid: UUID, label: 'a-label', bytes: 64 * MiB });
  writeFileSync(`${folder}/short`, 'x');
  t.is(readExt4(`${folder}/short`), undefined);
  t.is(ext4Identity(Buffer.alloc(2048)), undefined);
});

rooted('a file has one superblock, however often it is mounted', async (t) => {
  const { path } = await image(t);
  using file = opened(path);
  using other = opened(path);
  const first = await mountExt4(file, NAME);
  const second = await mountExt4(other, NAME);
  t.teardown(() => Promise.all([first.mount.closeLater(), second.mount.closeLater()]));
  t.is(statMount(first.mount).device, statMount(second.mount).device);
  writeFileSync(`${first.mount.path}/file`, 'text');
  t.is(readFileSync(`${second.mount.path}/file`, 'utf8'), 'text');
  t.deepEqual(mountFlags(first.mount), { readOnly: false, nosuid: true, nodev: true });
  t.true(await isExt4Of(file, NAME, statMount(first.mount).device));
  t.false(await isExt4Of(file, NAME, statMount('/').device));
});

rooted('a device is found by its file and our label, not by the name of the file', async (t) => {
  const { folder, path } = await image(t);
  const copy = `${scratchFolder(t)}/${NAME}`;
  run('cp', '--reflink=never', path, copy);
  using file = opened(path);
  using same = opened(copy);
  t.is(await findLoop(file, NAME), undefined);
  const loop = await attachLoop(same);
  t.teardown(() => loop.device.closeLater());
  t.is(await findLoop(file, NAME), undefined, 'another file of this name');
  const found = await findLoop(same, NAME);
  t.is(found?.number, loop.number);
  await found?.device.closeLater();
  const foreign = run('losetup', '--find', '--show', path).trim();
  t.teardown(() => run('losetup', '-d', foreign));
  t.is(await findLoop(file, NAME), undefined, `attached by somebody else (${folder})`);
});

rooted('blocks that were set aside stay so, whatever is trimmed or written', async (t) => {
  const { folder, path } = await image(t);
  t.true(owned(path) >= 64 * MiB);
  using file = opened(path);
  const { mount, kept } = await mountExt4(file, NAME);
  mkdirSync(`${folder}/at`);
  attach(mount, `${folder}/at`);
  await mount.closeLater();
  t.teardown(() => unmount(`${folder}/at`));
  if (!kept) return void t.log('skipped: the kernel lets nobody switch discards off');
  t.throws(() => run('fstrim', `${folder}/at`));
  for (let n = 0; n < 40; n += 1) {
    run('fallocate', '-l', '48K', `${folder}/at/${n}`);
    const text = opened(`${folder}/at/${n}`);
    writeFileSync(`${folder}/at/${n}`, 'x', { flag: 'r+' });
    text.close();
  }
  run('sync', '-f', `${folder}/at`);
  t.true(owned(path) >= 64 * MiB);
});

rooted('an image grows with its file', async (t) => {
  const { folder, path } = await image(t);
  truncateSync(path, 96 * MiB);
  await growExt4(path);
  t.is(readExt4(path)?.bytes, 96 * MiB);
  writeFileSync(`${folder}/noise`, Buffer.alloc(8192, 7));
  await t.throwsAsync(growExt4(`${folder}/noise`), { message: /e2fsck/ });
});
