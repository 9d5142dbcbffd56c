import './failing-flush.ts';
import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openFolder, openOrMakeFolder } from '../../../daemon/kernel/openat.ts';
import { readGeneration } from '../../../daemon/writeback/manifest.ts';
import { ServedFolder, takeQuiet } from '../../../daemon/writeback/served-folder.ts';
import { when } from '../../support/needs.ts';
import { failNextFlush } from './failing-flush.ts';
import { servedHome } from './served-home.ts';

const root = when(test, { root: true });

/** Writes files in memory, of which the first flush fails and the second does not. */
async function writeTwice(
  t: ExecutionContext,
  room: { memoryBytes: number },
  files: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const home = await servedHome(t, { ...room, diskBytes: 64 << 20 });
  using partition = openFolder(home.partition);
  using parent = openFolder(home.home);
  const folder = new ServedFolder({
    ...{ parent, name: 'app' },
    place: openOrMakeFolder(partition, '0'),
  });
  t.teardown(() => folder.close());
  folder.fill();
  for (const [name, bytes] of files) writeFileSync(join(home.memory, name), bytes);
  const save = () => {
    folder.prepare();
    folder.take([], Number.POSITIVE_INFINITY);
    takeQuiet([folder]);
    return folder.save(1000);
  };
  const box = join(home.home, '.persona-app');
  // What has a name is not another file later.
  const lost = join(home.home, 'lost');
  mkdirSync(lost);
  failNextFlush(() => {
    for (const name of readdirSync(box)) linkSync(join(box, name), join(lost, name));
  });
  t.throws(save, { message: /EIO/ });
  t.is(readdirSync(lost).length, files.size);
  t.deepEqual(readdirSync(box), [], 'it keeps no room that the next try needs');
  t.like(save(), { generation: 1, files: files.size });
  const inodes = new Set(readdirSync(lost).map((name) => statSync(join(lost, name)).ino));
  const record = readGeneration(readFileSync(join(box, '1.generation'), 'latin1'));
  const written = record?.changes.map((one) => (one.type === 'file' ? one.blob : ''));
  t.is(written?.length, files.size);
  t.false(written?.some((name) => inodes.has(statSync(join(box, name)).ino)));
  folder.finish();
  for (const [name, bytes] of files) t.true(readFileSync(join(home.disk, name)).equals(bytes));
}

root('many files whose flush has failed are written anew', async (t) => {
  const files = Array.from({ length: 129 }, (_, n) => [`f${n}`, Buffer.from(`of ${n}`)] as const);
  await writeTwice(t, { memoryBytes: 64 << 20 }, new Map(files));
});

root('so is one that went to the disk at once, where memory is full', async (t) => {
  const files = new Map([['big', Buffer.alloc(3 << 20, 3)]]);
  await writeTwice(t, { memoryBytes: 4 << 20 }, files);
});
