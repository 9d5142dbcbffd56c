import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { decode } from '../../../daemon/images/stream.ts';
import { startWorker } from '../../../daemon/personas/image-children.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { builtLayout, layoutTar } from '../../support/oci-builder.ts';

/** Path, type and size of every entry, as the confined worker reads them. */
async function readConfined(t: ExecutionContext, folder: string, file: string): Promise<string[]> {
  const input = await open(file, 'r');
  const spool = await open(join(folder, `spool-${Math.random()}`), 'wx+');
  t.teardown(() => Promise.all([input.close(), spool.close()]));
  const child = await startWorker(['read', 'auto', '--spool=4'], [input, spool]);
  const seen: string[] = [];
  const items = decode(child.stdout, { limits: defaultLimits, kind: 'tree' });
  try {
    for await (const { entry, content } of items) {
      let bytes = 0;
      for await (const piece of content) bytes += piece.length;
      seen.push(`${entry.path} ${entry.type} ${entry.size ?? ''} ${bytes}`);
    }
  } catch (error) {
    // What the child says is nearer to the cause than the end of its stream.
    await child.done;
    throw error;
  }
  await child.done;
  return seen;
}

when(test, {
  root: true,
  tools: ['bwrap', 'tar', 'mkfs.ext4', 'mksquashfs', 'sfdisk', 'zstd', 'xz'],
})('every foreign format is read by the worker in its confined child', async (t) => {
  const folder = scratchFolder(t);
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'etc'), { recursive: true });
  writeFileSync(join(tree, 'etc/hostname'), 'inside\n');
  writeFileSync(join(tree, 'etc/large'), Buffer.alloc(300_000, 'large content '));
  const at = (name: string) => join(folder, name);
  run('tar', '-cf', at('x.tar'), '-C', tree, '.');
  run('gzip', '-k', at('x.tar'));
  run('zstd', '-q', at('x.tar'));
  writeFileSync(
    at('oci.tar'),
    layoutTar(
      builtLayout({
        layers: [readFileSync(at('x.tar'))],
        packing: ['zstd'],
        architecture: process.arch === 'x64' ? 'amd64' : 'arm64',
      }),
    ),
  );
  run('mkfs.ext4', '-q', '-d', tree, at('x.ext4'), '8M');
  for (const codec of ['gzip', 'xz', 'zstd', 'lz4']) {
    run('mksquashfs', tree, at(`${codec}.squashfs`), '-comp', codec, '-quiet', '-no-progress');
  }
  writeFileSync(at('disk'), Buffer.alloc(16 * 1024 * 1024));
  execFileSync('sfdisk', ['-q', at('disk')], { input: 'label: dos\nstart=2048,type=83\n' });
  execFileSync('dd', [
    `if=${at('x.ext4')}`,
    `of=${at('disk')}`,
    'bs=1M',
    'seek=1',
    'conv=notrunc',
    'status=none',
  ]);
  const expected = treeOfFolder(tree).entries.map(
    ({ path, type, size }) => `${path} ${type} ${size ?? ''} ${size ?? 0}`,
  );
  const files = [
    'x.tar',
    'x.tar.gz',
    'x.tar.zst',
    'oci.tar',
    'x.ext4',
    'disk',
    'gzip.squashfs',
    'xz.squashfs',
    'zstd.squashfs',
    'lz4.squashfs',
  ];
  for (const file of files) t.deepEqual(await readConfined(t, folder, at(file)), expected, file);
});
