import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { decode, encode } from '../../../daemon/images/stream.ts';
import { type Item, itemsOf } from '../../../daemon/images/tree.ts';
import { startWalker } from '../../../daemon/kernel/as-caller.ts';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { walkTree } from '../../../daemon/kernel/tree-walk.ts';
import { writeTree } from '../../../daemon/kernel/tree-write.ts';
import { writeXattr } from '../../../daemon/kernel/xattrs.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { modelTree, treeOfModel } from '../../support/tree-arbitrary.ts';
import { differences, treeFacts } from '../../support/tree-facts.ts';

const needs = { root: true, tools: ['prlimit', 'setpriv', 'setfattr', 'setfacl', 'setcap'] };
const options = {
  exclude: [],
  blank: [],
  uppers: true,
  live: true,
  depthMax: defaultLimits.depth,
  extentsMax: 1024,
};

async function write(folder: string, items: AsyncIterable<Item>): Promise<void> {
  mkdirSync(folder);
  using root = openFolder(folder);
  await writeTree(root, items);
}

async function* each(items: Iterable<Item>): AsyncGenerator<Item> {
  yield* items;
}

/** All attributes of a file together fit into one block of ext4. */
function* fitting(items: Iterable<Item>): Generator<Item> {
  for (const { entry, content } of items) {
    const xattrs = entry.xattrs.map(([name, value]): [string, string] => [
      name,
      value.slice(0, 900),
    ]);
    yield { entry: { ...entry, xattrs }, content };
  }
}

/** Facts without those of the root folder itself, which the writer leaves to its caller. */
async function facts(folder: string): Promise<Record<string, unknown>> {
  const { '': _, ...rest } = await treeFacts(treeOfFolder(folder));
  return rest;
}

/** Everything an upper can hold: what programs make, what overlayfs notes, and a socket nobody listens on any more. */
async function fillUpper(folder: string): Promise<void> {
  fillOddTree(folder);
  run('mknod', join(folder, 'e/whiteout'), 'c', '0', '0');
  linkSync(join(folder, 'e/whiteout'), join(folder, 'foo/whiteout'));
  writeXattr(join(folder, 'foo'), 'trusted.overlay.opaque', 'y');
  writeXattr(join(folder, 'etc'), 'trusted.overlay.impure', 'y');
  writeXattr(join(folder, 'etc/passwd'), 'trusted.overlay.origin', '\0\xfb\x1d\x01\xff');
  writeXattr(join(folder, 'usr/bin/tool'), 'trusted.overlay.nlink', 'U+1');
  const server = createServer().listen(join(folder, 'e/socket'));
  await new Promise((resolve) => server.on('listening', resolve));
  linkSync(join(folder, 'e/socket'), join(folder, 'e/left-socket'));
  await new Promise((resolve) => server.close(resolve));
}

when(test, needs)('an upper is the same after a walk and a write, holes included', async (t) => {
  const place = temporaryFolder(t);
  const from = join(place, 'from');
  mkdirSync(from);
  await fillUpper(from);
  const root = { uid: 0, gid: 0, groups: [] };
  const walker = await startWalker({
    caller: root,
    path: from,
    live: true,
    uppers: true,
    deadlineMs: 60_000,
  });
  const to = join(place, 'to');
  await write(to, decode(walker.stdout as AsyncIterable<Buffer>, { kind: 'uppers' }));
  await walker.done;
  const wanted = await facts(from);
  t.true(Object.keys(wanted).length > 700);
  t.deepEqual(differences(await facts(to), wanted), {});
  const blocks = (folder: string, name: string) => lstatSync(join(folder, name)).blocks;
  for (const name of ['e/sparse', 'e/all-hole'])
    t.is(blocks(to, name), blocks(from, name), `${name} has its holes`);
  t.is(lstatSync(join(to, 'e/whiteout')).ino, lstatSync(join(to, 'foo/whiteout')).ino);
  t.true(lstatSync(join(to, 'e/left-socket')).isSocket());
});

when(test, needs)('any tree is the same after a walk and a write', async (t) => {
  const place = temporaryFolder(t);
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(modelTree, async (model) => {
      runs += 1;
      const [first, second] = [join(place, `${runs}-first`), join(place, `${runs}-second`)];
      await write(first, each(fitting(itemsOf(treeOfModel(model)))));
      using root = openFolder(first);
      const walked = walkTree(root, options) as AsyncIterable<Item>;
      await write(second, decode(encode(walked), { kind: 'uppers' }));
      t.deepEqual(differences(await facts(second), await facts(first)), {});
    }),
    { numRuns: 60 },
  );
});

when(test, needs)('only chosen paths are walked, and what vanishes is left out', async (t) => {
  const place = temporaryFolder(t);
  for (const path of ['a/uppers/1/fs', 'a/uppers/2/fs', 'ab', 'b/uppers/1'])
    mkdirSync(join(place, path), { recursive: true });
  writeFileSync(join(place, 'a/uppers/1/fs/file'), 'x');
  writeFileSync(join(place, 'a/uppers/1.json'), 'x');
  using root = openFolder(place);
  const seen: string[] = [];
  const only = ['a/uppers/1', 'b/uppers', 'c/never'];
  for await (const { entry } of walkTree(root, { ...options, only })) seen.push(entry.path);
  t.deepEqual(seen, [
    ...['', 'a', 'a/uppers', 'a/uppers/1', 'a/uppers/1/fs', 'a/uppers/1/fs/file'],
    ...['b', 'b/uppers', 'b/uppers/1'],
  ]);
});

when(test, needs)(
  'a file that shrinks while it is read keeps the length it was said to have',
  async (t) => {
    const place = temporaryFolder(t);
    const from = join(place, 'from');
    mkdirSync(from);
    const fd = openSync(join(from, 'file'), 'w');
    writeSync(fd, Buffer.alloc(3_000_000, 1));
    closeSync(fd);
    using root = openFolder(from);
    const items = walkTree(root, options) as AsyncGenerator<Item>;
    async function* shrunk(): AsyncGenerator<Item> {
      for await (const item of items) {
        if (item.entry.path === 'file') truncateSync(join(from, 'file'), 5);
        yield item;
      }
    }
    await write(join(place, 'to'), decode(encode(shrunk()), { kind: 'uppers' }));
    t.is(lstatSync(join(place, 'to/file')).size, 3_000_000);
  },
);
