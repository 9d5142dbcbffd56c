import { constants, fsyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { Fd } from '../../../daemon/kernel/fd.ts';
import {
  cutFile,
  extentsOf,
  freeRange,
  growFile,
  ownRange,
  sizeOf,
  writeInPlace,
} from '../../../daemon/kernel/file-blocks.ts';
import { knowsFileSystem } from '../../../daemon/kernel/fs-context.ts';
import { mountImage } from '../../support/mount-image.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

const MiB = 1024 ** 2;
const where = run('stat', '-f', '-c', '%T', tmpdir()).trim();
const told = when(test, {
  root: true,
  other: () =>
    where.startsWith('ext') ? undefined : `needs a temporary folder on ext4, not ${where}`,
});

function newFile(t: ExecutionContext): Fd {
  const path = `${scratchFolder(t)}/file`;
  writeFileSync(path, '');
  const file = new Fd(openSync(path, constants.O_RDWR), path);
  t.teardown(() => file.close());
  return file;
}

const bytesOf = async (file: Fd, from = 0) =>
  (await extentsOf(file, from))?.reduce((sum, { bytes }) => sum + bytes, 0);

told('blocks are set aside and given back piece by piece, and each is told of', async (t) => {
  const file = newFile(t);
  await cutFile(file, 8 * MiB);
  t.deepEqual(await extentsOf(file), []);
  await ownRange(file, { at: 2 * MiB, bytes: 3 * MiB });
  t.is(sizeOf(file).bytes, 8 * MiB);
  t.is(await bytesOf(file), 3 * MiB);
  t.is((await extentsOf(file))?.[0]?.at, 2 * MiB);
  await freeRange(file, { at: 3 * MiB, bytes: MiB });
  t.is(await bytesOf(file), 2 * MiB);
  t.is(await bytesOf(file, 4 * MiB), MiB);
  await growFile(file, 4 * MiB);
  t.is(sizeOf(file).bytes, 8 * MiB, 'never shorter');
  await growFile(file, 11 * MiB);
  t.is(sizeOf(file).bytes, 11 * MiB);
  t.is(await bytesOf(file), 5 * MiB);
  t.true(sizeOf(file).ownedBytes >= 5 * MiB);
});

told(
  'more pieces than one call tells of are all told, whole and from the middle of one',
  async (t) => {
    const file = newFile(t);
    const pieces = 1300;
    await cutFile(file, pieces * 8192);
    for (let n = 0; n < pieces; n += 1) await ownRange(file, { at: n * 8192, bytes: 4096 });
    t.is(await bytesOf(file), pieces * 4096);
    await ownRange(file, { at: 0, bytes: MiB });
    const [first] = (await extentsOf(file, MiB / 2)) ?? [];
    const all = (await extentsOf(file)) ?? [];
    const around = all.find(({ at, bytes }) => at <= MiB / 2 && MiB / 2 < at + bytes);
    t.is(first?.at, MiB / 2);
    t.is(first?.on, (around?.on ?? 0) + MiB / 2 - (around?.at ?? 0));
  },
);

const onBtrfs = when(test, {
  root: true,
  tools: ['mkfs.btrfs'],
  other: () => (knowsFileSystem('btrfs') ? undefined : 'needs btrfs in the kernel'),
});

onBtrfs('a file that is written in place keeps its blocks where others would move', async (t) => {
  const folder = scratchFolder(t);
  const at = `${folder}/at`;
  mkdirSync(at);
  run('truncate', '-s', '256M', `${folder}/image`);
  run('mkfs.btrfs', '-q', `${folder}/image`);
  mountImage(`${folder}/image`, at);
  /** Where the blocks of a new file stand before and after it is written once more. */
  const places = async (name: string, inPlace: boolean) => {
    writeFileSync(`${at}/${name}`, '');
    using file = new Fd(openSync(`${at}/${name}`, constants.O_RDWR), name);
    if (inPlace) await writeInPlace(file);
    await growFile(file, MiB);
    const seen: unknown[] = [];
    for (const byte of [1, 2]) {
      writeSync(file.number, Buffer.alloc(MiB, byte), 0, MiB, 0);
      fsyncSync(file.number);
      seen.push((await extentsOf(file))?.map(({ on }) => on));
    }
    return seen;
  };
  const [first, second] = await places('plain', false);
  t.notDeepEqual(second, first);
  const [before, after] = await places('in-place', true);
  t.deepEqual(after, before);
});
