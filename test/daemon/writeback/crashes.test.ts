import test from 'ava';
import type { Broken } from './model-disk.ts';
import { crashRound, type Round } from './model-session.ts';

function rounds(count: number, broken?: Broken): Round {
  const total = { crashes: 0, torn: 0, lost: 0, useless: 0 };
  for (let seed = 1; seed <= count; seed += 1) {
    const { crashes, torn, lost, useless } = crashRound(seed, broken);
    total.crashes += crashes;
    total.torn += torn;
    total.lost += lost;
    total.useless += useless;
  }
  return total;
}

test('a machine that stops anywhere leaves no torn folder and loses no generation', (t) => {
  const { crashes, torn, lost, useless } = rounds(1_000);
  t.true(crashes >= 1_000);
  t.deepEqual({ torn, lost }, { torn: 0, lost: 0 });
  t.is(useless, 0, 'files in the box that nobody needs');
});

for (const broken of ['syncBox', 'syncFolder', 'bytes'] as const)
  test(`it is noticed when ${broken} does nothing`, (t) => {
    const { torn, lost } = rounds(1_000, broken);
    t.true(torn + lost > 0);
  });
