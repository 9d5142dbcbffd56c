import test from 'ava';
import { blocker, clash } from '../../../daemon/changes/conflicts.ts';

const cases: [string[], string[], string | undefined][] = [
  [['slot:a'], ['slot:b'], undefined],
  [['slot:a'], ['slot:a'], 'slot:a'],
  [['shared:persona:x'], ['shared:persona:x'], undefined],
  [['shared:persona:x'], ['persona:x'], 'persona:x'],
  [['persona:x'], ['slot:a', 'shared:persona:x'], 'persona:x'],
  [[], ['slot:a'], undefined],
];

for (const [one, other, wanted] of cases)
  test(`${one.join(' ') || 'nothing'} against ${other.join(' ')}`, (t) => {
    t.is(clash(one, other), wanted);
    t.is(clash(other, one), wanted);
  });

test('the earliest holder is named', (t) => {
  const before = [
    { id: 1, holds: ['slot:b'] },
    { id: 2, holds: ['slot:a'] },
    { id: 3, holds: ['slot:a'] },
  ];
  t.is(blocker(['slot:a'], before)?.holder.id, 2);
  t.is(blocker(['slot:c'], before), undefined);
});
