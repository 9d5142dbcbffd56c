import { existsSync, mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Activatable } from '../../../daemon/personas/persona-source.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { type Bench, layerFrom, startBench } from '../../support/slots.ts';

// The root folder is in every layer and in the upper; overlays show what the upper's is.

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'setfattr', 'setfacl', 'getfacl'] });
const CHANGED = 1_577_934_245; // 2020-01-02 03:04:05 UTC

/** A persona whose root folder has a mode, an attribute, an ACL and a time of its own. */
function persona(folder: string): Activatable {
  const [tree, image] = [`${folder}/tree`, `${folder}/tree.erofs`];
  mkdirSync(`${tree}/etc`, { recursive: true });
  writeFileSync(`${tree}/etc/name`, 'a');
  run('setfattr', '-n', 'user.said', '-v', 'yes', tree);
  run('setfacl', '-m', 'u:77:r-x', tree);
  utimesSync(tree, CHANGED, CHANGED);
  run('mkfs.erofs', image, tree);
  const layer = layerFrom(image, 'base');
  return {
    persona: { name: 'a', digest: layer.digest },
    base: { digest: layer.digest, name: 'base' },
    layers: [layer],
    environment: {},
  };
}

async function opened(t: ExecutionContext): Promise<Bench> {
  const folder = scratchFolder(t);
  const bench = await startBench(`${folder}/persona`, { a: persona(folder) });
  t.teardown(() => bench.stop());
  return bench;
}

for (const owner of [1234, 0])
  rooted(`the root folder of a slot of uid ${owner} is that of its persona`, async (t) => {
    const bench = await opened(t);
    await bench.create('s', { owner });
    await bench.swap('s', 'a');
    const root = bench.tree('s');
    t.is(statSync(root).mtimeMs, CHANGED * 1000);
    t.regex(run('getfattr', '-d', '--absolute-names', root), /user\.said="yes"/);
    const first = bench.slots.room.book.slot('s').ids?.first ?? 0;
    t.regex(run('getfacl', '-n', '-p', root), new RegExp(`^user:${first + 77}:r-x$`, 'm'));
  });

rooted('a state in which nothing was written still counts as empty', async (t) => {
  const bench = await opened(t);
  await bench.create('s');
  await bench.swap('s', 'a');
  const { book, uppers } = bench.slots.room;
  const upper = book.current(book.slot('s'))!.upper;
  await bench.swap('s', 'a', { fresh: true });
  while (book.upper(upper).state === 'draining') await pause(20);
  t.is(book.upper(upper).state, 'gone');
  t.false(existsSync(uppers.path('s', upper)));
});
