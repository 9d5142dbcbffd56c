import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Fd } from '../../../daemon/kernel/fd.ts';
import {
  clearTree,
  type FlipWay,
  flip,
  makeAnchor,
  removeAnchor,
  shownTree,
} from '../../../daemon/kernel/flip.ts';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { statMount } from '../../../daemon/kernel/stat-mount.ts';
import { UnmountWatch } from '../../../daemon/kernel/unmount-watch.ts';
import { imageOf, layerOf, partner, scratchFolder, treeOf } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'unshare'] });
const WAYS: FlipWay[] = ['beneath', 'symlink'];
/** An ordinary user: not the overflow id, which unmapped files also show. */
const ORDINARY = ['setpriv', '--reuid', '1234', '--regid', '1234', '--clear-groups'];

/** A program that opens and reads the file without pause, and tells how it went when its input ends. */
const READER = `
const fs = require('node:fs');
let reads = 0, failures = 0, stop = false; const seen = new Set();
process.stdin.on('data', () => { stop = true; });
function some() {
  for (let i = 0; i < 500; i += 1) {
    try { seen.add(fs.readFileSync(process.argv[1], 'utf8')); } catch (error) { failures += 1; seen.add(error.code); }
    reads += 1;
  }
  if (stop) { console.log(JSON.stringify({ reads, failures, seen: [...seen].sort() })); process.exit(); }
  setImmediate(some);
}
console.log('ready'); some();
`;

function anchorOf(t: ExecutionContext, folder: string): string {
  const anchor = `${folder}/slot`;
  mkdirSync(anchor);
  makeAnchor(anchor);
  t.teardown(async () => {
    await (await clearTree(anchor))?.closeLater();
    await removeAnchor(anchor);
  });
  return anchor;
}

async function twoTrees(t: ExecutionContext, folder: string): Promise<[Fd, Fd]> {
  const trees = [];
  for (const name of ['a', 'b']) {
    const layer = await layerOf(t, imageOf(folder, name, { 'etc/name': name }));
    trees.push(await treeOf(t, folder, [{ mount: layer }]));
  }
  return trees as [Fd, Fd];
}

for (const way of WAYS) {
  rooted(`an empty slot, then one tree after the other: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const anchor = anchorOf(t, folder);
    const [a, b] = await twoTrees(t, folder);
    const name = () => readFileSync(`${anchor}/root/etc/name`, 'utf8');
    t.is(shownTree(anchor), undefined);
    t.is((await flip(anchor, a, way)).old, undefined);
    t.is(name(), 'a');
    const second = await flip(anchor, b, way);
    t.is(name(), 'b');
    t.is(shownTree(anchor)?.device, statMount(b).device);
    await second.settled;
    t.is(readFileSync(`${second.old?.path}/etc/name`, 'utf8'), 'a');
    const third = await flip(anchor, second.old!, way);
    t.is(name(), 'a');
    await third.settled;
    await third.old?.closeLater();
    const attached = readMountinfo().filter(
      ({ type, at }) => type === 'overlay' && at.startsWith(folder),
    );
    t.is(attached.length, 1);
    t.deepEqual(attached[0]?.shared, undefined);
  });

  rooted(`a busy reader never misses a tree: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const anchor = anchorOf(t, folder);
    const [a, b] = await twoTrees(t, folder);
    await flip(anchor, a, way);
    const reader = partner(t, process.execPath, '-e', READER, `${anchor}/root/etc/name`);
    t.is(await reader.line(), 'ready');
    let next = b;
    const settled: Promise<void>[] = [];
    for (let round = 0; round < 300; round += 1) {
      const flipped = await flip(anchor, next, way);
      if (way === 'beneath') await flipped.settled;
      else settled.push(flipped.settled);
      next = flipped.old!;
    }
    reader.say('stop');
    const told = JSON.parse(await reader.line());
    t.is(told.failures, 0);
    t.deepEqual(told.seen, ['a', 'b']);
    t.true(told.reads > 100);
    await Promise.all(settled);
    await next.closeLater();
  });

  for (const [kind, propagation] of [
    ['slave', 'slave'],
    ['unchanged', 'unchanged'],
  ] as const) {
    rooted(
      `a service with a ${kind} mount namespace sees the flip and pins nothing: ${way}`,
      async (t) => {
        const folder = scratchFolder(t);
        const anchor = anchorOf(t, folder);
        const [a, b] = await twoTrees(t, folder);
        await flip(anchor, a, way);
        const script = 'echo ready; while read line; do cat "$1/root/etc/name"; echo; done';
        const service = partner(
          t,
          'unshare',
          '--mount',
          '--propagation',
          propagation,
          'sh',
          '-c',
          script,
          'sh',
          anchor,
        );
        t.is(await service.line(), 'ready');
        service.say('');
        t.is(await service.line(), 'a');
        const { old, settled } = await flip(anchor, b, way);
        service.say('');
        t.is(await service.line(), 'b');
        const watch = new UnmountWatch();
        t.teardown(() => watch.close());
        const ended = new Promise<void>((resolve) => watch.watch(old!, resolve));
        await settled;
        await a.closeLater();
        await old!.closeLater();
        await ended;
        t.is(watch.pending, 0);
      },
    );
  }

  rooted(`under a shared mount, as /run is, each tree is there once: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const shared = `${folder}/run`;
    mkdirSync(shared);
    run('mount', '--bind', shared, shared);
    run('mount', '--make-shared', shared);
    // Older than the anchor itself, as a service with a private /tmp may be.
    const script = 'echo ready; while read line; do cat "$1/root/etc/name"; echo; done';
    const words = ['--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh', `${shared}/slot`];
    const service = partner(t, 'unshare', ...words);
    t.is(await service.line(), 'ready');
    const anchor = anchorOf(t, shared);
    for (const [at, tree] of (await twoTrees(t, folder)).entries()) {
      const { old, settled } = await flip(anchor, tree, way);
      service.say('');
      t.is(await service.line(), at === 0 ? 'a' : 'b');
      await settled;
      await old?.closeLater();
      const trees = readMountinfo().filter(
        (mount) => mount.type === 'overlay' && mount.at.startsWith(folder),
      );
      t.is(trees.length, 1);
      t.is(trees[0]?.shared, undefined);
    }
  });

  rooted(
    `a user whom the anchor lets in reaches the tree, whatever our umask: ${way}`,
    async (t) => {
      const folder = scratchFolder(t);
      const anchor = anchorOf(t, folder);
      const trees = await twoTrees(t, folder);
      const umask = process.umask(0o077); // as the daemon sets it
      t.teardown(() => process.umask(umask));
      for (const tree of trees) {
        const { old, settled } = await flip(anchor, tree, way);
        await settled;
        await old?.closeLater();
      }
      const [program = '', ...words] = ORDINARY;
      t.is(run(program, ...words, 'cat', `${anchor}/root/etc/name`), 'b');
    },
  );

  rooted(`set-id, capability and device node give an ordinary user nothing: ${way}`, async (t) => {
    const folder = scratchFolder(t);
    const anchor = anchorOf(t, folder);
    const source = `${folder}/hostile.tree`;
    mkdirSync(source);
    run('cp', '/usr/bin/id', `${source}/suid-id`);
    run('chmod', '6755', `${source}/suid-id`);
    run('cp', '/usr/bin/id', `${source}/cap-id`);
    run('setcap', 'cap_setuid+ep', `${source}/cap-id`);
    run('mknod', '-m', '666', `${source}/zero`, 'c', '1', '5');
    run('mkfs.erofs', `${folder}/hostile.erofs`, source);
    const layer = await layerOf(t, `${folder}/hostile.erofs`);
    for (const lowers of ['fd', 'path', 'staging'] as const) {
      const attachedAt = `${folder}/stage`;
      if (lowers === 'staging') {
        mkdirSync(attachedAt);
        const { attach } = await import('../../../daemon/kernel/mounts.ts');
        attach(layer, attachedAt);
      }
      const tree = await treeOf(t, folder, [{ mount: layer, attachedAt }], lowers);
      const { old, settled } = await flip(anchor, tree, way);
      await settled;
      await old?.closeLater();
      const root = `${anchor}/root`;
      t.is(statSync(`${root}/suid-id`).mode & 0o7777, 0o6755);
      t.is(run(ORDINARY[0]!, ...ORDINARY.slice(1), `${root}/suid-id`, '-u').trim(), '1234');
      t.is(run(ORDINARY[0]!, ...ORDINARY.slice(1), `${root}/suid-id`, '-g').trim(), '1234');
      const caps = run(
        ORDINARY[0]!,
        ...ORDINARY.slice(1),
        'sh',
        '-c',
        `${root}/cap-id >/dev/null; exec ${root}/cap-id -u`,
      );
      t.is(caps.trim(), '1234');
      t.throws(() => run(ORDINARY[0]!, ...ORDINARY.slice(1), 'head', '-c1', `${root}/zero`), {
        message: /Permission denied/,
      });
    }
  });
}

rooted('what is mounted inside a tree goes with it and comes back with it', async (t) => {
  const folder = scratchFolder(t);
  const anchor = anchorOf(t, folder);
  const [a, b] = await twoTrees(t, folder);
  await flip(anchor, a, 'beneath');
  run('mount', '-t', 'tmpfs', 'inner', `${anchor}/root/etc`);
  writeFileSync(`${anchor}/root/etc/note`, 'inside');
  const { old } = await flip(anchor, b, 'beneath');
  t.is(readFileSync(`${anchor}/root/etc/name`, 'utf8'), 'b');
  const back = await flip(anchor, old!, 'beneath');
  t.is(readFileSync(`${anchor}/root/etc/note`, 'utf8'), 'inside');
  old!.close();
  await back.old?.closeLater();
});

rooted('a flip that fails leaves the old tree standing', async (t) => {
  const folder = scratchFolder(t);
  const anchor = anchorOf(t, folder);
  const [a, b] = await twoTrees(t, folder);
  await flip(anchor, a, 'beneath');
  await t.throwsAsync(flip(anchor, a, 'beneath')); // attached already: the kernel refuses
  t.is(readFileSync(`${anchor}/root/etc/name`, 'utf8'), 'a');
  writeFileSync(`${anchor}/root/etc/name`, 'still');
  const { old } = await flip(anchor, b, 'beneath');
  await old?.closeLater();
  t.is(readFileSync(`${anchor}/root/etc/name`, 'utf8'), 'b');
});

rooted('children started between flips inherit no descriptor', async (t) => {
  const folder = scratchFolder(t);
  const anchor = anchorOf(t, folder);
  const [a, b] = await twoTrees(t, folder);
  // What the test runner itself was started with is there before and after.
  const inherited = () => run('sh', '-c', 'ls /proc/$$/fd');
  const before = inherited();
  let next = a;
  for (const spare of [b, undefined, undefined]) {
    const flipped = await flip(anchor, next, 'beneath');
    t.is(inherited(), before);
    await flipped.settled;
    next = flipped.old ?? spare!;
  }
  await next.closeLater();
});
