/** The 1 MB that the kernel starts from: it loads the driver of the root disk, a module in Debian's kernels. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { runProgram } from './host-program.ts';

/** A root on virtio, since a machine with NVMe in it cannot be saved: NVMe disks come after a snapshot starts. */
const drivers = ['virtio_pci', 'virtio_blk'];

/** Writes the initrd `to` for kernel `version`, with modules and their order as the guest's own tools say. */
export async function writeInitrd(root: string, version: string, to: string): Promise<void> {
  const tree = mkdtempSync(join(dirname(to), 'initrd-'));
  try {
    for (const name of ['bin', 'dev', 'modules', 'root']) mkdirSync(join(tree, name));
    copyFileSync('/bin/busybox', join(tree, 'bin/busybox'));
    copyFileSync(join(import.meta.dirname, 'guest/init'), join(tree, 'init'));
    const order = await modulesOf(root, version);
    for (const path of order)
      await unpackModule(join(root, path), join(tree, 'modules', plainName(path)));
    const lines = order.map((path) => `${plainName(path)}\n`);
    writeFileSync(join(tree, 'modules/order'), lines.join(''));
    const names = await runProgram(['find', '.', '-mindepth', '1'], {
      deadlineMs: 10_000,
      cwd: tree,
    });
    await runProgram(['cpio', '--quiet', '--create', '--format=newc', `--file=${to}`], {
      deadlineMs: 10_000,
      cwd: tree,
      input: Buffer.from(names),
    });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** Paths in the root of the modules that the drivers need, each after those it depends on. */
async function modulesOf(root: string, version: string): Promise<string[]> {
  const argv = ['chroot', root, '/sbin/modprobe', '--set-version', version, '--show-depends'];
  const all: string[] = [];
  for (const driver of drivers) {
    const shown = await runProgram([...argv, driver], { deadlineMs: 10_000 });
    for (const [, path] of shown.matchAll(/^insmod (\S+)/gm)) if (path) all.push(path);
  }
  return [...new Set(all)];
}

const plainName = (path: string): string => basename(path).replace(/\.ko.*$/, '.ko');

async function unpackModule(from: string, to: string): Promise<void> {
  copyFileSync(from, to);
  const tool = { '.xz': 'xz', '.zst': 'zstd' }[/\.(xz|zst)$/.exec(from)?.[0] ?? ''];
  if (tool === undefined) return;
  const packed = `${to}${/\.(xz|zst)$/.exec(from)?.[0]}`;
  writeFileSync(packed, readFileSync(to));
  await runProgram([tool, '--decompress', '--force', '--quiet', packed], { deadlineMs: 10_000 });
  rmSync(packed, { force: true });
}
