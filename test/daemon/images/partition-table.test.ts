import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { bufferSource, fileSource } from '../../../daemon/images/byte-source.ts';
import { readPartitions, rootPartition } from '../../../daemon/images/partition-table.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { successOrPersonaError, treeFacts, treeOfImage } from '../../support/tree-facts.ts';

const MiB = 1024 * 1024;
const esp = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';
const linux = '0FC63DAF-8483-4772-8E79-3D69D8477DE4';
const root = '4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709';

function disk(folder: string, script: string, size = 64 * MiB): string {
  const image = join(folder, `disk-${Math.random()}.img`);
  writeFileSync(image, '');
  truncateSync(image, size);
  execFileSync('sfdisk', ['-q', image], { input: script });
  return image;
}

function rootOf(image: string, arch = 'x64') {
  const fd = openSync(image, 'r');
  try {
    return rootPartition(fileSource(fd), arch);
  } finally {
    closeSync(fd);
  }
}

const needs = { tools: ['sfdisk'] };

when(test, needs)('GPT: the partition typed as root of this machine wins', (t) => {
  const folder = temporaryFolder(t);
  const script = `label: gpt\n start=2048,size=20480,type=${esp},name="efi é"\n size=20480,type=${linux}\n size=20480,type=${root},name=root\n`;
  const found = rootOf(disk(folder, script));
  t.like(found, { number: 3, role: 'root', name: 'root', size: 20480 * 512 });
  // For another machine it is only a partition of an unknown kind.
  t.is(rootOf(disk(folder, script), 'arm64').number, 2);
});

when(test, needs)(
  'GPT: else the only Linux partition; two are ambiguous, and the message lists them',
  (t) => {
    const folder = temporaryFolder(t);
    const one = `label: gpt\n size=20480,type=${esp}\n size=20480,type=${linux}\n`;
    t.is(rootOf(disk(folder, one)).number, 2);
    const two = `${one} size=20480,type=${linux},name=data\n`;
    const error = t.throws(() => rootOf(disk(folder, two)), { instanceOf: PersonaError });
    t.is(error?.code, 'bad-image');
    t.regex(error?.message ?? '', /several.*2 \(linux,.*3 \(linux "data"/);
    t.regex(error?.hint ?? '', /dd/);
    const none = t.throws(() => rootOf(disk(folder, `label: gpt\n size=20480,type=${esp}\n`)));
    t.regex(none?.message ?? '', /no partition that holds a Linux root/);
  },
);

test('GPT with sectors of 4 KiB', (t) => {
  const image = Buffer.alloc(4 * MiB);
  const entry = image.subarray(8192, 8192 + 128);
  Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex').copy(entry);
  entry.writeBigUInt64LE(256n, 32);
  entry.writeBigUInt64LE(511n, 40);
  const header = image.subarray(4096, 4096 + 92);
  header.write('EFI PART');
  header.writeUInt32LE(92, 12);
  header.writeBigUInt64LE(2n, 72);
  header.writeUInt32LE(1, 80);
  header.writeUInt32LE(128, 84);
  header.writeUInt32LE(crc32(entry), 88);
  header.writeUInt32LE(crc32(header), 16);
  t.like(rootPartition(bufferSource(image)), { number: 1, offset: MiB, size: MiB });
});

when(test, needs)('MBR: primary and logical partitions', (t) => {
  const folder = temporaryFolder(t);
  t.like(rootOf(disk(folder, 'label: dos\n size=20480,type=c\n size=20480,type=83\n')), {
    number: 2,
  });
  const logical =
    'label: dos\nx1: size=20480,type=c\nx2: size=81920,type=5\nx5: size=10240,type=82\nx6: size=20480,type=83\n';
  t.like(rootOf(disk(folder, logical)), { number: 6, size: 20480 * 512 });
  t.throws(() => rootOf(disk(folder, 'label: dos\n size=20480,type=83\n size=20480,type=83\n')), {
    message: /several/,
  });
});

when(test, needs)('damage and cut images are refused', (t) => {
  const folder = temporaryFolder(t);
  const gpt = disk(folder, `label: gpt\n size=20480,type=${linux}\n`);
  const bytes = readFileSync(gpt);
  for (const at of [512 + 20, 1024 + 33]) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    t.throws(() => rootPartition(bufferSource(damaged)), { message: /damaged/ });
  }
  const lost = Buffer.from(bytes);
  lost.fill(0, 512, 520);
  t.throws(() => rootPartition(bufferSource(lost)), { message: /missing or damaged/ });
  t.throws(() => rootPartition(bufferSource(bytes.subarray(0, 5 * MiB)), 'x64'), {
    message: /cut off inside partition 1/,
  });
  t.throws(() => rootPartition(bufferSource(bytes.subarray(0, 2000))), {
    instanceOf: PersonaError,
  });
  const circle = readFileSync(
    disk(folder, 'label: dos\nx1: size=81920,type=5\nx5: size=10240,type=83\n'),
  );
  const first = 2048 * 512;
  circle[first + 446 + 16 + 4] = 5;
  circle.writeUInt32LE(0, first + 446 + 16 + 8);
  t.throws(() => rootPartition(bufferSource(circle)), { message: /circle/ });
});

when(test, { ...needs, tools: ['sfdisk', 'mkfs.ext4', 'mksquashfs', 'zstd'], root: true })(
  'the tree inside a disk image is found, also packed',
  async (t) => {
    const folder = temporaryFolder(t);
    const tree = join(folder, 'tree');
    mkdirSync(join(tree, 'etc'), { recursive: true });
    writeFileSync(join(tree, 'etc/hostname'), 'inside\n');
    run('find', tree, '-exec', 'touch', '-d', '@1000000000', '{}', '+');
    const ext4 = join(folder, 'root.img');
    run('mkfs.ext4', '-q', '-d', tree, ext4, '16M');
    const squashfs = join(folder, 'root.squashfs');
    run('mksquashfs', tree, squashfs, '-quiet', '-no-progress');
    for (const part of [ext4, squashfs]) {
      const image = disk(folder, `label: gpt\n size=8192,type=${esp}\n size=40960,type=${root}\n`);
      const fd = openSync(image, 'r+');
      writeSync(fd, readFileSync(part), 0, undefined, rootOf(image).offset);
      closeSync(fd);
      const expected = { ...(await treeFacts(treeOfFolder(tree))), '': undefined };
      const seen = await treeFacts(await treeOfImage(t, folder, image));
      t.deepEqual({ ...seen, '': undefined }, expected);
      run('zstd', '-q', image);
      const packed = await treeFacts(await treeOfImage(t, folder, `${image}.zst`));
      t.deepEqual({ ...packed, '': undefined }, expected);
    }
  },
);

when(test, needs)('damage anywhere ends in a table or in an error of ours', async (t) => {
  const folder = temporaryFolder(t);
  for (const script of [
    `label: gpt\n size=2048,type=${linux}\n`,
    'label: dos\nx1: size=8192,type=5\nx5: size=1024,type=83\nx6: size=1024,type=83\n',
  ]) {
    const whole = readFileSync(disk(folder, script, 8 * MiB));
    const place = fc.oneof(
      fc.nat(4095),
      fc.integer({ min: 446, max: 511 }),
      fc.integer({ min: 2048 * 512 + 440, max: 2048 * 512 + 511 }),
    );
    const changes = fc.array(fc.record({ at: place, to: fc.nat(255) }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const old = list.map(({ at }) => whole[at] ?? 0);
        for (const { at, to } of list) whole[at] = to;
        await successOrPersonaError(async () => readPartitions(bufferSource(whole)));
        for (const [i, { at }] of [...list.entries()].reverse()) whole[at] = old[i] ?? 0;
      }),
      { numRuns: 1000 },
    );
  }
  t.pass();
});
