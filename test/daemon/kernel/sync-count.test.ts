import { mkdirSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { countSyncs, countsSyncs } from '../../../daemon/kernel/sync-count.ts';
import { mountImage } from '../../support/mount-image.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

// How often real programs wait for real disks, counted by the kernel.

const disk = (t: ExecutionContext, type: string, mib: number): string => {
  const folder = scratchFolder(t);
  const image = join(folder, 'image');
  writeFileSync(image, '');
  truncateSync(image, mib * 2 ** 20);
  run(`mkfs.${type}`, '-q', image);
  const place = join(folder, 'disk');
  mkdirSync(place);
  mountImage(image, place);
  return place;
};

/** Does what it is told line by line, each by a child; then becomes a program that waits itself. */
const work = (file: string) => `
  echo begun
  read next
  dd if=/dev/zero of=${file} bs=4k count=3 oflag=sync status=none
  dd if=/dev/zero of=${file} bs=4k count=5 conv=fdatasync status=none
  dd if=/dev/zero of=${file} bs=4k count=7 status=none
  sync ${file}
  echo written
  read next
  exec dd if=/dev/zero of=${file} bs=4k count=11 oflag=dsync status=none
`;

for (const [type, mib] of [
  ['ext4', 16],
  ['xfs', 300],
  ['btrfs', 128],
] as const) {
  when(test, { root: true, tools: ['dd', 'sync', `mkfs.${type}`] })(
    `each wait for a disk is counted, of children too and after their end: ${type}`,
    async (t) => {
      const place = disk(t, type, mib);
      t.true(countsSyncs(statfsSync(place).type));
      const { process: child, line, say } = partner(t, '/bin/sh', '-c', work(`${place}/file`));
      t.is(await line(), 'begun');
      const before = openFds();
      const count = await countSyncs([child.pid!]);
      const other = await countSyncs([process.pid]);
      t.is(other, undefined, 'this one has more threads than are looked at');
      t.is(count?.read(), 0);
      say('on');
      t.is(await line(), 'written');
      t.is(count?.read(), 3 + 1 + 1);
      const gone = new Promise((resolve) => child.once('exit', resolve));
      say('on');
      t.is(await gone, 0);
      t.is(count?.read(), 5 + 11);
      await count?.close();
      t.is(openFds(), before);
      t.is(await countSyncs([child.pid!]), undefined, 'it has ended');
    },
  );
}

when(test, { root: true, tools: ['dd', 'sync'] })('memory is no disk', async (t) => {
  t.false(countsSyncs(statfsSync('/dev/shm').type));
  const folder = scratchFolder(t);
  const place = join(folder, 'memory');
  mkdirSync(place);
  run('mount', '-t', 'tmpfs', 'test', place);
  const { process: child, line, say } = partner(t, '/bin/sh', '-c', work(`${place}/file`));
  await line();
  const count = await countSyncs([child.pid!]);
  say('on');
  t.is(await line(), 'written');
  t.is(count?.read(), 0);
  await count?.close();
});
