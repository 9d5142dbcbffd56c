import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import test from 'ava';
import { ownerLookup } from '../../../daemon/api/subordinate.ts';
import { readFacts } from '../../../daemon/personas/slot-rows.ts';
import { planCreate } from '../../../daemon/personas/slots.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { benchIn, startBench, twoPersonas } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });
const ROOT = { uid: 0, gid: 0 };
const USER = { uid: 1234, gid: 1234 };

rooted('of two that make a slot of one name, the second leaves the first alone', async (t) => {
  const folder = scratchFolder(t);
  const root = `${folder}/persona`;
  const personas = twoPersonas(folder);
  const bench = await startBench(root, personas);
  const plan = () => planCreate(bench.slots.room, { name: 'work' }, USER);
  const ends = await Promise.all(
    [plan(), plan()].map(async (one) => await (await bench.engine.submit(one)).done),
  );
  t.deepEqual(
    ends.map(({ status, error }) => [status, error?.code]),
    [
      ['done', undefined],
      ['failed', 'already-exists'],
    ],
  );
  t.true(existsSync(`${root}/run/slots/work`));
  await bench.swap('work', 'a');
  writeFileSync(`${bench.tree('work')}/etc/mine`, 'kept');
  await bench.stop();
  const again = await startBench(root, personas);
  t.teardown(() => again.stop());
  t.is(readFileSync(`${again.tree('work')}/etc/mine`, 'utf8'), 'kept');
});

rooted('slots of root that are made at the same time have ids of their own', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const plans = ['one', 'two', 'three'].map((name) => planCreate(bench.slots.room, { name }, ROOT));
  await Promise.all(plans.map(bench.run));
  const slots = bench.slots.room.book.slots();
  const firsts = slots.map(({ ids }) => ids?.first);
  t.is(new Set(firsts).size, 3);
  t.false(firsts.includes(undefined));
  const gids = slots.map(({ name }) => statSync(dirname(bench.tree(name))).gid);
  t.deepEqual(gids, firsts as number[], 'each anchor lets in the root of its own slot');
  t.deepEqual((await readFacts(bench.store)).slots, slots, 'rows say the same');
});

rooted('a user has so many slots, by all ids of his, also when he asks at once', async (t) => {
  const lookup = ownerLookup([{ owner: 1234, first: 100_000, count: 65_536 }]);
  const bench = await benchIn(t, scratchFolder(t), { accountOf: lookup });
  const plan = (name: string, uid: number) =>
    planCreate(bench.slots.room, { name }, { uid, gid: uid });
  for (let i = 0; i < 14; i += 1) await bench.run(plan(`s${i}`, i % 2 === 0 ? 1234 : 100_000 + i));
  const asks = [1234, 100_000, 1234, 165_000].map((uid, i) => plan(`more${i}`, uid));
  const ends = await Promise.all(
    asks.map(async (one) => await (await bench.engine.submit(one)).done),
  );
  const codes = ends.map(({ status, error }) => error?.code ?? status).sort();
  t.deepEqual(codes, ['done', 'done', 'limit-exceeded', 'limit-exceeded']);
  t.is(bench.slots.room.book.slots().length, 16);
  t.throws(() => plan('last', 165_001), { code: 'limit-exceeded' });
  await bench.create('another', { owner: 4321 });
});
