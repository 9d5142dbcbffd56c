import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { Fd } from '../../../daemon/kernel/fd.ts';
import { mergeFolders } from '../../../daemon/kernel/merge-folders.ts';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { mountOverlay } from '../../../daemon/kernel/overlay.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { imageOf, layerOf, newUpper, scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { benchIn } from '../../support/slots.ts';
import { differences, treeFacts } from '../../support/tree-facts.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'setfattr'] });

type Step = { what: string; at: string; to: string };

const NAMES = [
  'a',
  'b',
  'd',
  'd/x',
  'd/y',
  'd/e',
  'd/e/z',
  'base',
  'base/f',
  'base/g',
  'base/h/i',
  'new/deep/er',
];
const step = fc.record({
  what: fc.constantFrom(
    'file',
    'folder',
    'remove',
    'link',
    'symlink',
    'mode',
    'xattr',
    'move',
    'fifo',
  ),
  at: fc.constantFrom(...NAMES),
  to: fc.constantFrom(...NAMES),
});

/** Does what it can; a step that makes no sense where things stand is left out. */
function take(root: string, { what, at, to }: Step, number: number): void {
  const path = `${root}/${at}`;
  try {
    if (what === 'file') writeFileSync(path, `${number}`);
    else if (what === 'folder') mkdirSync(path, { recursive: true });
    else if (what === 'remove') rmSync(path, { recursive: true });
    else if (what === 'link') linkSync(path, `${root}/${to}`);
    else if (what === 'symlink') symlinkSync(`../${to}`, path);
    else if (what === 'mode') chmodSync(path, 0o700 + (number % 64));
    else if (what === 'xattr') run('setfattr', '-n', 'user.n', '-v', `${number}`, path);
    else if (what === 'fifo') run('mkfifo', path);
    else renameSync(path, `${root}/${to}`);
    utimesSync(path, 1_000 + number, 2_000 + number);
  } catch {
    return;
  }
}

rooted('what is merged means the same as the layers it was made of', async (t) => {
  const folder = scratchFolder(t);
  const image = imageOf(folder, 'base', {
    'base/f': 'f',
    'base/g': 'g',
    'base/h/i': 'i',
    'd/x': 'x',
  });
  const base = await layerOf(t, image);
  let number = 0;
  const lowers = (uppers: string[]) => [
    ...uppers.map((upper) => ({ mount: new Fd(openSync(`${upper}/fs`, 'r'), upper) })),
    { mount: base },
  ];
  const shown = async (uppers: string[]) => {
    const all = lowers(uppers);
    const tree = await mountOverlay(
      { lowers: all, upper: newUpper(folder), source: 'persona:test' },
      'fd',
    );
    // The root folder is that of the upper it is looked at through.
    const { '': _, ...facts } = await treeFacts(treeOfFolder(tree.path));
    await tree.closeLater();
    for (const { mount } of all.slice(0, -1)) mount.close();
    return facts;
  };
  const property = fc.asyncProperty(
    fc.array(fc.array(step, { maxLength: 12 }), { minLength: 2, maxLength: 5 }),
    async (rounds) => {
      const uppers: string[] = [];
      for (const steps of rounds) {
        const upper = newUpper(folder);
        const all = lowers(uppers);
        const tree = await mountOverlay({ lowers: all, upper, source: 'persona:test' }, 'fd');
        for (const one of steps) {
          number += 1;
          take(tree.path, one, number);
        }
        await tree.closeLater();
        for (const { mount } of all.slice(0, -1)) mount.close();
        uppers.unshift(upper);
      }
      const merged = newUpper(folder);
      const layers = uppers.map((upper) => openFolder(`${upper}/fs`));
      using target = openFolder(`${merged}/fs`);
      await mergeFolders(layers, target, new AbortController().signal);
      for (const layer of layers) layer.close();
      const different = differences(await shown([merged]), await shown(uppers));
      if (Object.keys(different).length > 0) throw new Error(JSON.stringify(different));
      return true;
    },
  );
  await t.notThrowsAsync(fc.assert(property, { numRuns: 40 }));
});

rooted('a tree with everything odd in it survives merging', async (t) => {
  const folder = scratchFolder(t);
  const base = await layerOf(t, imageOf(folder, 'base', { f: '' }));
  const [lower, upper, merged] = [newUpper(folder), newUpper(folder), newUpper(folder)];
  fillOddTree(`${lower}/fs`);
  writeFileSync(`${upper}/fs/new`, 'x');
  const layers = [upper, lower].map((one) => openFolder(`${one}/fs`));
  using target = openFolder(`${merged}/fs`);
  await mergeFolders(layers, target, new AbortController().signal);
  for (const layer of layers) layer.close();
  const facts = async (path: string) => {
    const { '': _, new: __, ...rest } = await treeFacts(treeOfFolder(path));
    return rest;
  };
  t.deepEqual(differences(await facts(`${merged}/fs`), await facts(`${lower}/fs`)), {});
  void base;
});

rooted('a slot that is swapped to and fro for long keeps its state and a flat stack', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const { room } = bench.slots;
  await bench.create('work');
  const rounds = 24;
  for (let round = 0; round < rounds; round += 1) {
    await bench.swap('work', 'a');
    const tree = bench.tree('work');
    writeFileSync(`${tree}/etc/round-${round}`, `${round}`);
    if (round > 0) rmSync(`${tree}/etc/round-${round - 1}`);
    const { upper } = room.book.current(room.book.slot('work'))!;
    await bench.swap('work', 'b');
    await room.keeper.end('work', 60_000);
    while (room.book.upper(upper).state === 'draining') await pause(5);
    await room.flattener.settled('work');
  }
  await bench.swap('work', 'a');
  const { upper } = room.book.current(room.book.slot('work'))!;
  t.true(room.book.upper(upper).below.length <= 9, `${room.book.upper(upper).below.length}`);
  const names = readdirSync(`${bench.tree('work')}/etc`).filter((name) => name.startsWith('round'));
  t.deepEqual(names, [`round-${rounds - 1}`]);
  await bench.rollback('work', { to: 1 });
  t.is(readFileSync(`${bench.tree('work')}/etc/round-0`, 'utf8'), '0');
  t.false(existsSync(`${bench.tree('work')}/etc/round-1`));
});
