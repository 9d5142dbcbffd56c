import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { attachLoop } from '../../../daemon/kernel/loops.ts';
import { openImage, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';

const rooted = when(test, { root: true });
const attribute = (number: number, name: string) =>
  readFileSync(`/sys/block/loop${number}/loop/${name}`, 'utf8').trim();

rooted('a device is read-only, frees itself, and begins at the offset', async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(`${folder}/file`, Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(8192, 2)]));
  using image = openImage(`${folder}/file`);
  const loop = await attachLoop(image, { offset: 4096 });
  t.teardown(() => loop.device.closeLater());
  t.is(attribute(loop.number, 'autoclear'), '1');
  t.is(attribute(loop.number, 'offset'), '4096');
  t.is(readFileSync(`/sys/block/loop${loop.number}/ro`, 'utf8').trim(), '1');
  t.deepEqual(new Set(readFileSync(loop.path)), new Set([2]));
});

rooted('many at once get one device each', async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(`${folder}/file`, Buffer.alloc(4096));
  using image = openImage(`${folder}/file`);
  const loops = await Promise.all(Array.from({ length: 12 }, () => attachLoop(image)));
  t.is(new Set(loops.map((loop) => loop.number)).size, 12);
  for (const loop of loops) await loop.device.closeLater();
});

rooted('a file that cannot back a device is named in the error', async (t) => {
  using image = openImage('/proc/self/status');
  await t.throwsAsync(attachLoop(image), { message: /\/proc\/self\/status as \/dev\/loop/ });
});
