import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { FlipWay } from '../../../daemon/kernel/flip.ts';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { statMount } from '../../../daemon/kernel/stat-mount.ts';
import { SlotCollector } from '../../../daemon/personas/slot-collect.ts';
import { slotPages } from '../../../daemon/personas/slot-pages.ts';
import { retentionOf } from '../../../daemon/personas/slot-retention.ts';
import { planRemove } from '../../../daemon/personas/slots.ts';
import { loseEnd } from '../../support/lost-end.ts';
import { partner, scratchFolder, unmountBelow } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { type Bench, type BenchOptions, startBench, twoPersonas } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });
const CHILD = fileURLToPath(new URL('../../support/slot-child.ts', import.meta.url));
const ROOT = { uid: 0, gid: 0 };
const name = (bench: Bench) => readFileSync(`${bench.tree('work')}/etc/name`, 'utf8');
const mine = (bench: Bench) => `${bench.tree('work')}/etc/mine`;

async function start(
  t: ExecutionContext,
  folder: string,
  options: BenchOptions = {},
): Promise<Bench> {
  const bench = await startBench(`${folder}/persona`, twoPersonas(folder), options);
  t.teardown(() => bench.stop());
  return bench;
}

/** One tree in the slot, and it is the one of the rows. */
function consistent(t: ExecutionContext, bench: Bench): string {
  const { book } = bench.slots.room;
  const current = book.current(book.slot('work'));
  t.truthy(current);
  t.is(current?.state, 'good');
  const trees = readMountinfo().filter(
    ({ type, at }) => type === 'overlay' && at.startsWith(`${bench.root}/run/slots/`),
  );
  t.deepEqual(
    trees.map(({ source }) => source),
    [`persona:work:${current?.upper}`],
  );
  t.true(trees[0]?.options.includes('nosuid') && trees[0].options.includes('nodev'));
  t.is(name(bench), current?.persona?.name ?? '');
  return current?.persona?.name ?? '';
}

rooted('a restart leaves the tree as it is mounted, and knows everything again', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.swap('work', 'a');
  writeFileSync(mine(first), 'kept');
  await first.swap('work', 'b');
  const { mountId } = statMount(first.tree('work'));
  await first.stop();
  t.is(statMount(first.tree('work')).mountId, mountId); // usable without the daemon
  const second = await start(t, folder);
  t.is(statMount(second.tree('work')).mountId, mountId);
  t.is(consistent(t, second), 'b');
  await second.swap('work', 'a');
  t.is(readFileSync(mine(second), 'utf8'), 'kept');
});

for (const flip of ['beneath', 'symlink'] as FlipWay[]) {
  rooted(`a reboot brings every slot back with its data: ${flip}`, async (t) => {
    const folder = scratchFolder(t);
    const first = await start(t, folder, { ways: { flip } });
    await first.create('work');
    await first.create('other', { ephemeral: true });
    await first.create('unused');
    await first.swap('work', 'a');
    await first.swap('other', 'b');
    writeFileSync(mine(first), 'kept');
    await first.stop();
    await unmountBelow(folder);
    rmSync(`${folder}/persona/run`, { recursive: true });
    const second = await start(t, folder, { ways: { flip } });
    t.is(name(second), 'a');
    t.is(readFileSync(mine(second), 'utf8'), 'kept');
    t.is(readFileSync(`${second.tree('other')}/etc/name`, 'utf8'), 'b');
    const states = (await slotPages(second.slots.room)).map((page) => [page.name, page.state]);
    t.deepEqual(states, [
      ['other', 'active'],
      ['unused', 'empty'],
      ['work', 'active'],
    ]);
    await second.swap('work', 'b');
    await second.swap('work', 'a');
    t.is(readFileSync(mine(second), 'utf8'), 'kept');
  });
}

rooted('after a kill, what still drains is watched until it ends', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.swap('work', 'a');
  writeFileSync(mine(first), 'kept');
  const upper = first.slots.room.book.uppersOf('work').find(({ state }) => state === 'active')!.id;
  const holder = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', first.tree('work'));
  await holder.line();
  await first.swap('work', 'b');
  await first.stop();
  const second = await start(t, folder);
  t.is(second.slots.room.book.upper(upper).state, 'draining');
  t.true(second.slots.room.keeper.has(upper));
  await t.throwsAsync(second.swap('work', 'a'), { message: /programs are running|cannot be seen/ });
  await holder.end();
  while (second.slots.room.keeper.has(upper)) await second.slots.room.keeper.ended(upper, 100);
  t.is(second.slots.room.book.upper(upper).state, 'sealed');
  await second.swap('work', 'a');
  t.is(readFileSync(mine(second), 'utf8'), 'kept');
});

rooted(
  'killed at every fault point of a swap, recovered twice: old or new, whole, and usable',
  async (t) => {
    const counted = scratchFolder(t);
    const all = spawnSync(
      process.execPath,
      ['--no-warnings', CHILD, `${counted}/persona`, counted, '0'],
      { encoding: 'utf8' },
    );
    const points = Number(/points (\d+)/.exec(all.stdout)?.[1]);
    t.true(points >= 8, all.stdout + all.stderr);
    const seen = new Set<string>();
    for (let point = 1; point <= points; point += 1) {
      const folder = scratchFolder(t);
      const child = spawnSync(
        process.execPath,
        ['--no-warnings', CHILD, `${folder}/persona`, folder, String(point)],
        { encoding: 'utf8' },
      );
      t.is(child.signal, 'SIGKILL', child.stderr);
      const where = child.stdout.trim().split('\n').at(-1);
      for (let round = 0; round < 2; round += 1) {
        const bench = await startBench(`${folder}/persona`, twoPersonas(folder));
        const shown = consistent(t, bench);
        seen.add(shown);
        t.true(
          (await bench.engine.list(10)).every(
            ({ status }) => status === 'done' || status === 'failed',
          ),
          where,
        );
        if (round === 1) {
          await bench.swap('work', shown === 'a' ? 'b' : 'a');
          await bench.swap('work', 'a');
          t.is(readFileSync(mine(bench), 'utf8'), 'precious', where);
          const known = readdirSync(bench.slots.room.uppers.folder('work')).filter(
            (one) => !one.endsWith('.json'),
          );
          t.true(known.length <= 3 + 8, `${where}: ${known.length} uppers`);
        }
        await bench.stop();
      }
      await unmountBelow(folder);
    }
    t.deepEqual([...seen].sort(), ['a', 'b']);
  },
);

rooted('half a flip is finished: the new tree under the old one', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.swap('work', 'a');
  await first.swap('work', 'b');
  const { room } = first.slots;
  // As a crash between the two steps leaves it: the old tree is still on top.
  const a = room.keeper.take(room.book.generation('work', 1).upper)!;
  const { attach } = await import('../../../daemon/kernel/mounts.ts');
  attach(a, `${first.tree('work')}`);
  a.close();
  t.is(name(first), 'a');
  await first.stop();
  const second = await start(t, folder);
  t.is(consistent(t, second), 'b');
});

rooted('a slot that cannot be brought back says why, and the others live', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.create('other');
  await first.swap('work', 'a');
  await first.swap('other', 'b');
  await first.stop();
  await unmountBelow(folder);
  const personas = twoPersonas(folder);
  const lost = personas.a!.layers[0]!.file;
  writeFileSync(lost, Buffer.alloc(4096));
  const second = await startBench(`${folder}/persona`, personas);
  t.teardown(() => second.stop());
  const [other, work] = await slotPages(second.slots.room);
  t.is(other?.state, 'active');
  t.is(work?.state, 'broken');
  t.regex(work?.problem ?? '', /generation 1 cannot be shown/);
});

rooted(
  'what a mount namespace still holds is not mounted a second time, and comes back later',
  async (t) => {
    const folder = scratchFolder(t);
    const first = await start(t, folder);
    await first.create('work');
    await first.swap('work', 'a');
    writeFileSync(`${first.tree('work')}/etc/mine`, 'mine');
    const hold = ['--mount', '--propagation', 'private', 'sh', '-c', 'echo ready; read w'];
    const holder = partner(t, 'unshare', ...hold);
    await holder.line();
    await first.stop();
    await unmountBelow(folder);
    const second = await start(t, folder);
    const [held] = await slotPages(second.slots.room);
    t.is(held?.state, 'broken');
    t.regex(held?.problem ?? '', /still holds its writable layer/);
    t.notRegex(held?.problem ?? '', /internal/);
    await second.stop();
    await holder.end();
    // Namespaces of tests that run beside this one may have a copy of the mount, too, for a while.
    for (const end = Date.now() + 60_000; ; ) {
      const third = await start(t, folder);
      const [back] = await slotPages(third.slots.room);
      if (back?.state === 'active' || Date.now() > end) {
        t.is(back?.state, 'active');
        t.is(readFileSync(`${third.tree('work')}/etc/mine`, 'utf8'), 'mine');
        return;
      }
      await third.stop();
    }
  },
);

rooted('an upper no row names is left alone, and told', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.stop();
  const stranger = `${folder}/persona/state/slots/work/uppers/stranger/fs`;
  mkdirSync(stranger, { recursive: true });
  writeFileSync(`${stranger}/data`, 'whose?');
  const second = await start(t, folder);
  await second.swap('work', 'a');
  t.true(existsSync(`${stranger}/data`));
});

rooted('what may not be activated any more is not brought back by a reboot', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  await first.create('work');
  await first.create('other');
  await first.swap('work', 'a');
  await first.swap('other', 'b');
  writeFileSync(mine(first), 'kept');
  await first.stop();
  await unmountBelow(folder);
  const { a: _revoked, ...personas } = twoPersonas(folder);
  const second = await startBench(`${folder}/persona`, personas);
  const [other, work] = await slotPages(second.slots.room);
  t.is(other?.state, 'active');
  t.is(work?.state, 'broken');
  t.regex(work?.problem ?? '', /cannot find persona/);
  await second.stop();
  await unmountBelow(folder);
  const third = await start(t, folder);
  t.is(readFileSync(mine(third), 'utf8'), 'kept');
});

rooted('a removal that a start repeats leaves another slot of that name alone', async (t) => {
  const folder = scratchFolder(t);
  const first = await start(t, folder);
  const rm = () => planRemove(first.slots.room, { slot: 'work', discard: true }, ROOT);
  await first.create('work');
  await first.swap('work', 'a');
  const late = rm();
  await first.run(rm());
  await first.create('work');
  await first.swap('work', 'a');
  writeFileSync(mine(first), 'kept');
  await first.swap('work', 'b');
  await t.throwsAsync(first.run(late), { code: 'slot-not-found' });
  await loseEnd(first.store, 'slot.rm');
  await first.stop();
  const second = await start(t, folder);
  t.deepEqual(second.engine.open(), []);
  t.is(consistent(t, second), 'b');
  await second.swap('work', 'a');
  t.is(readFileSync(mine(second), 'utf8'), 'kept');
});

rooted('a collection leaves generations whose rows have stayed', async (t) => {
  const bench = await start(t, scratchFolder(t));
  await bench.create('work');
  for (const persona of ['a', 'b', 'a']) await bench.swap('work', persona);
  const { room } = bench.slots;
  const numbers = () => room.book.generations('work').map(({ number }) => number);
  await bench.store.commit((tx) => tx.run('DELETE FROM generations WHERE number = 1'));
  const collector = new SlotCollector(room, retentionOf(0, 0));
  const going = [{ slot: 'work', generations: [1, 2], uppers: [] }];
  await collector.remove({ fault: async () => undefined }, going);
  t.deepEqual(numbers(), [2, 3]);
  const records = readdirSync(`${room.state}/work/generations`).sort();
  t.deepEqual(records, ['2.json', '3.json']);
});
