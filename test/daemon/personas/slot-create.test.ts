import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { planCreate } from '../../../daemon/personas/slots.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { startBench, twoPersonas } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });
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
