import test from 'ava';
import { Told } from '../../../daemon/profiles/told.ts';

const good = {
  of: { id: 'paint' },
  source: 'user',
  from: '/x:1',
  confidence: 1,
  dateMs: 1,
  values: { cpu: 'background' },
};

test('a surveyor speaks for its user only, and only in facts', (t) => {
  const told = new Told(['user']);
  const line = (piece: unknown) => told.line(JSON.stringify(piece));
  line({ fragments: [good, { ...good, of: { name: 'paint' } }] });
  t.is(told.survey.fragments.length, 2);
  const bad: unknown[] = [
    { ...good, source: 'admin' },
    { ...good, source: 'measured' },
    { ...good, of: { id: '../x' } },
    { ...good, of: {} },
    { ...good, confidence: 2 },
    { ...good, dateMs: -1 },
    { ...good, from: 1 },
    { ...good, from: 'x'.repeat(5000) },
    { ...good, values: { cpu: 'realtime' } },
    { ...good, values: { data: ['/etc'] } },
    { ...good, values: { toString: 1 } },
    null,
    'x',
  ];
  line({ fragments: bad });
  line({ fragments: 'x', programs: [{ path: '/x', real: '/x', device: 1, inode: '2' }] });
  line(null);
  line(7);
  t.is(told.survey.fragments.length, 2);
  t.deepEqual(told.survey.programs, []);
  t.throws(() => told.line('{'), { instanceOf: SyntaxError });
});

test('no more is kept than a survey may have', (t) => {
  const told = new Told(['user']);
  const fragments = Array.from({ length: 1000 }, () => good);
  for (let at = 0; at < 60; at += 1) told.line(JSON.stringify({ fragments }));
  t.is(told.survey.fragments.length, 50_000);
  told.line(
    JSON.stringify({ problems: Array.from({ length: 999 }, () => ({ from: 'x', text: 'y' })) }),
  );
  t.is(told.survey.problems.length, 200);
});
