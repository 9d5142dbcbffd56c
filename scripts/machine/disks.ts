/**
 * The disks of a machine. Each start writes into a fresh overlay, so that every block that is written is a new one
 * there: qemu keeps where it is in memory until the guest flushes, and a power cut really loses it.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from './host-program.ts';
import { files } from './qemu.ts';

const deadlineMs = 120_000;

/** Makes the disks of a new machine: the root over `rootBelow`, and an empty ext4 of `dataSize` such as `2G`. */
export async function makeDisks(folder: string, rootBelow: Below, dataSize: string): Promise<void> {
  await overlay(folder, files.root, rootBelow);
  const raw = join(folder, 'data.raw');
  const features = ['-O', 'verity,encrypt', '-E', 'lazy_itable_init=1,nodiscard', '-L', 'persona'];
  await runProgram(['truncate', '--size', dataSize, raw], { deadlineMs });
  await runProgram(['mke2fs', '-q', '-t', 'ext4', '-b', '4096', ...features, raw], { deadlineMs });
  const argv = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, files.data];
  await runProgram(argv, { deadlineMs, cwd: folder });
  rmSync(raw);
}

export interface Below {
  path: string;
  format: 'raw' | 'qcow2';
}

async function overlay(folder: string, name: string, below: Below): Promise<void> {
  const argv = [
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-b',
    below.path,
    '-F',
    below.format,
    name,
  ];
  await runProgram(argv, { deadlineMs, cwd: folder });
}

/** Before a start: what the last one wrote goes into the disks below, and fresh overlays on top of them. */
export async function settleDisks(folder: string): Promise<void> {
  for (const [top, below] of [
    [files.rootTop, files.root],
    [files.dataTop, files.data],
  ] as const) {
    if (existsSync(join(folder, top))) {
      await runProgram(['qemu-img', 'commit', '-q', top], { deadlineMs, cwd: folder });
      rmSync(join(folder, top));
    }
    await overlay(folder, top, { path: below, format: 'qcow2' });
  }
}
