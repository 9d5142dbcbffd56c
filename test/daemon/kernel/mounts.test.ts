import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { type ErofsWay, mountErofs } from '../../../daemon/kernel/erofs.ts';
import { KernelError } from '../../../daemon/kernel/errno.ts';
import { createMount } from '../../../daemon/kernel/fs-context.ts';
import { createUserNamespace } from '../../../daemon/kernel/idmap.ts';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { attach, changeMount, cloneTree, unmount } from '../../../daemon/kernel/mounts.ts';
import { mountOverlay, upperInUse } from '../../../daemon/kernel/overlay.ts';
import { capabilities } from '../../../daemon/kernel/probe.ts';
import { statMount } from '../../../daemon/kernel/stat-mount.ts';
import {
  imageOf,
  layerOf,
  newUpper,
  openImage,
  scratchFolder,
  treeOf,
} from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });

for (const way of ['file', 'file-offset', 'loop'] as ErofsWay[]) {
  rooted(`an image is mounted detached and read-only: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const image = imageOf(folder, 'a', { 'etc/name': 'a' });
    const offset = way === 'file' ? 0 : 8192;
    const container = `${folder}/container`;
    writeFileSync(container, Buffer.concat([Buffer.alloc(offset), readFileSync(image)]));
    using file = openImage(container);
    using mount = await mountErofs({ file, offset }, way);
    t.is(readFileSync(`${mount.path}/etc/name`, 'utf8'), 'a');
    t.throws(() => writeFileSync(`${mount.path}/etc/name`, 'b'), { code: 'EROFS' });
    t.true(statMount(mount).isMountRoot);
    t.false(readMountinfo().some(({ at }) => at.startsWith(folder)));
  });
}

rooted('the kernel says what is wrong with an image', async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(`${folder}/bad`, Buffer.alloc(8192));
  using file = openImage(`${folder}/bad`);
  const error = await t.throwsAsync(mountErofs({ file }, 'file'), { instanceOf: KernelError });
  t.is(error?.code, 'EINVAL');
  t.regex(error?.message ?? '', /erofs/);
});

for (const way of ['fd', 'path', 'staging'] as const) {
  rooted(`layers are joined top first, writes go to the upper: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const lowers = [];
    for (const name of ['top', 'bottom']) {
      const mount = await layerOf(
        t,
        imageOf(folder, name, { 'etc/name': name, [`etc/${name}`]: name }),
      );
      const attachedAt = `${folder}/stage-${name}`;
      if (way === 'staging') {
        mkdirSync(attachedAt);
        attach(mount, attachedAt);
      }
      lowers.push({ mount, attachedAt });
    }
    const upper = newUpper(folder);
    const tree = await mountOverlay({ lowers, upper, source: 'persona:test' }, way);
    t.teardown(() => tree.closeLater());
    t.is(readFileSync(`${tree.path}/etc/name`, 'utf8'), 'top');
    t.deepEqual(readdirSync(`${tree.path}/etc`), ['bottom', 'name', 'top']);
    writeFileSync(`${tree.path}/etc/new`, 'x');
    t.is(readFileSync(`${upper}/fs/etc/new`, 'utf8'), 'x');
    const place = `${folder}/place`;
    mkdirSync(place);
    attach(tree, place);
    const line = readMountinfo().find(({ at }) => at === place);
    for (const flag of ['nosuid', 'nodev', 'noatime']) t.true(line?.options.includes(flag), flag);
    t.is(line?.source, 'persona:test');
    await unmount(place, { detach: true });
  });
}

rooted('an upper in use is known to the kernel, whoever holds it', async (t) => {
  const folder = scratchFolder(t);
  const mount = await layerOf(t, imageOf(folder, 'a', { f: '' }));
  const upper = newUpper(folder);
  t.false(await upperInUse(upper, folder));
  const tree = await mountOverlay({ lowers: [{ mount }], upper, source: 'persona:test' }, 'fd');
  t.true(await upperInUse(upper, folder));
  await tree.closeLater();
  t.false(await upperInUse(upper, folder));
  t.deepEqual(readdirSync(`${upper}/work`), ['work']);
});

rooted('attributes change one by one; a clone outlives its mount', async (t) => {
  const folder = scratchFolder(t);
  const tree = await treeOf(t, folder, [
    { mount: await layerOf(t, imageOf(folder, 'a', { f: 'x' })) },
  ]);
  const place = `${folder}/place`;
  mkdirSync(place);
  attach(tree, place);
  changeMount(place, { readOnly: true, propagation: 'private' });
  t.throws(() => writeFileSync(`${place}/g`, ''), { code: 'EROFS' });
  changeMount(place, { readOnly: false });
  writeFileSync(`${place}/g`, '');
  const clone = cloneTree(place);
  await unmount(place, { detach: true });
  t.is(readFileSync(`${clone.path}/f`, 'utf8'), 'x');
  await clone.closeLater();
});

rooted('shifted ids: root inside is a high id outside; the upper keeps its own', async (t) => {
  const folder = scratchFolder(t);
  const { ways } = await capabilities(folder, folder);
  if (!ways.idmap) return t.pass('the kernel has no idmapped layers');
  using namespace = await createUserNamespace({ first: 2_000_000_000, count: 65_536 });
  const mount = await layerOf(t, imageOf(folder, 'a', { f: 'x' }));
  changeMount(mount, { idmap: namespace });
  const upper = newUpper(folder);
  const tree = await mountOverlay({ lowers: [{ mount }], upper, source: 'persona:test' }, 'fd');
  t.teardown(() => tree.closeLater());
  t.is(statSync(`${tree.path}/f`).uid, 2_000_000_000);
  writeFileSync(`${tree.path}/f`, 'y');
  t.is(statSync(`${upper}/fs/f`).uid, 2_000_000_000);
  return undefined;
});

test('an unknown file system has a name in its error', async (t) => {
  const error = await t.throwsAsync(createMount('nosuchfs', [], 0));
  t.regex(error?.message ?? '', /fsopen/);
});
