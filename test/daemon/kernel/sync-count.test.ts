import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
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
const work = (folder: string, file = `${folder}/file`) => `
  echo begun
  read next
  dd if=/dev/zero of=${file} bs=4k count=3 oflag=sync status=none
  dd if=/dev/zero of=${file} bs=4k count=5 conv=fdatasync status=none
  dd if=/dev/zero of=${file} bs=4k count=7 status=none
  sync ${file}
  sync ${folder}
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
      t.true(countsSyncs(place) && countsSyncs(`${place}/deeper/still`));
      const { process: child, line, say } = partner(t, '/bin/sh', '-c', work(place));
      t.is(await line(), 'begun');
      // Trace points stay in use from the first count on.
      await (await countSyncs(() => [child.pid!]))?.close();
      const before = openFds();
      const count = await countSyncs(() => [child.pid!]);
      t.is(count?.read(), 0);
      say('on');
      t.is(await line(), 'written');
      t.is(count?.read(), 3 + 1 + 1 + 1);
      const gone = new Promise((resolve) => child.once('exit', resolve));
      say('on');
      t.is(await gone, 0);
      t.is(count?.read(), 6 + 11);
      await count?.close();
      t.is(openFds(), before);
      t.is(await countSyncs(() => [child.pid!]), undefined, 'it has ended');
    },
  );
}

when(test, { root: true, tools: ['dd', 'sync'] })('memory is no disk', async (t) => {
  const folder = scratchFolder(t);
  const place = join(folder, 'memory');
  mkdirSync(place);
  run('mount', '-t', 'tmpfs', 'test', place);
  t.false(countsSyncs(place));
  const { process: child, line, say } = partner(t, '/bin/sh', '-c', work(place));
  await line();
  const count = await countSyncs(() => [child.pid!]);
  say('on');
  t.is(await line(), 'written');
  t.is(count?.read(), 0);
  await count?.close();
});

test('what lies where is told by the mounts, the nearest and last one', (t) => {
  const mount = (at: string, type: string) => ({
    ...{ id: 1, parent: 1, device: '0:1', root: '/', options: [], source: 'x', superOptions: [] },
    ...{ at, type },
  });
  const mounts = [mount('/', 'ext4'), mount('/home', 'nfs4'), mount('/home/ann', 'xfs')];
  const counts = (path: string, ...more: typeof mounts) => countsSyncs(path, [...mounts, ...more]);
  t.true(counts('/srv'));
  t.false(counts('/home'));
  t.false(counts('/home/annabel'));
  t.true(counts('/home/ann/Art'));
  t.false(counts('/home/ann/Art', mount('/home/ann', 'tmpfs')));
  t.false(countsSyncs('/srv', []));
});

when(test, { root: true, tools: ['sh'] })(
  'what starts another one meanwhile is counted, too',
  async (t) => {
    const folder = scratchFolder(t);
    const file = join(folder, 'file');
    const { process: child, line, say } = partner(t, '/bin/sh', '-c', work(folder));
    await line();
    const second = partner(t, '/bin/sh', '-c', work(folder));
    await second.line();
    let asked = 0;
    // It is there when they are listed again.
    const count = await countSyncs(() => {
      asked += 1;
      return asked === 1 ? [child.pid!] : [child.pid!, second.process.pid!];
    });
    t.true(asked > 2);
    say('on');
    second.say('on');
    t.is(await line(), 'written');
    t.is(await second.line(), 'written');
    t.is(count?.read(), countsSyncs(file) ? 12 : 0);
    await count?.close();
  },
);

/** So many threads that wait for a line, and each for the disk then. */
const threads = `
import { Worker } from 'node:worker_threads';
import { createInterface } from 'node:readline';
const count = Number(process.argv[1]);
const work = "const { openSync, writeSync, fsyncSync } = process.getBuiltinModule('node:fs');" +
  "const { parentPort, workerData } = process.getBuiltinModule('node:worker_threads');" +
  "const file = openSync(workerData, 'a'); writeSync(file, 'x'); fsyncSync(file); parentPort.postMessage(1);";
console.log('begun');
for await (const path of createInterface({ input: process.stdin })) {
  const all = Array.from({ length: count }, (_, at) => new Worker(work, { eval: true, workerData: path + at }));
  await Promise.all(all.map((one) => new Promise((done) => one.once('message', done))));
  console.log('written');
}
`;

when(test, { root: true })(
  'threads are counted that start later; who has too many is not',
  async (t) => {
    const folder = scratchFolder(t);
    const words = ['--no-warnings', '--input-type=module', '-e', threads, '3'];
    const { process: child, line, say } = partner(t, process.execPath, ...words);
    await line();
    const count = await countSyncs(() => [child.pid!]);
    say(join(folder, 'file'));
    await line();
    t.is(count?.read(), countsSyncs(folder) ? 3 : 0);
    await count?.close();
    const many = Array.from({ length: 17 }, (_, at) => at);
    const crowd = many.map(() => partner(t, '/bin/sh', '-c', 'echo begun; read line'));
    await Promise.all(crowd.map((one) => one.line()));
    t.is(await countSyncs(() => crowd.map((one) => one.process.pid!)), undefined);
  },
);
