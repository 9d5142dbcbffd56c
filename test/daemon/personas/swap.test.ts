import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { benchIn } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });

rooted('a persona, another one, and back with what was written', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const name = () => readFileSync(`${bench.tree('work')}/etc/name`, 'utf8');
  await bench.create('work');
  await bench.swap('work', 'a');
  t.is(name(), 'a');
  writeFileSync(`${bench.tree('work')}/etc/mine`, 'kept');
  const second = await bench.swap('work', 'b');
  t.is(name(), 'b');
  t.like(second.result, {
    slot: 'work',
    resumed: false,
    generation: { number: 2, state: 'good' },
    previous: { number: 1 },
  });
  const third = await bench.swap('work', 'a');
  t.is(name(), 'a');
  t.is(readFileSync(`${bench.tree('work')}/etc/mine`, 'utf8'), 'kept');
  t.like(third.result, { resumed: true, generation: { number: 3 } });
  console.log(JSON.stringify(third.result));
});
