import test from 'ava';
import { atMost, type Bar } from '../../bench/bar.ts';
import { bestOf, untilHeld } from '../../bench/runs.ts';

const ms = (value: number, limit = 2): Bar => atMost('swap', value, 'ms', limit, 9);

test('a bar is as its best run has it, and says what the others gave', (t) => {
  const [bar] = bestOf([[ms(2.4)], [ms(1.9)], [ms(2.1)]]);
  t.is(bar?.value, 1.9);
  t.true(bar?.holds);
  t.deepEqual(bar?.runs, [2.4, 1.9, 2.1]);
});

test('a run in which it could not be measured is not the best one', (t) => {
  const unmeasured: Bar = { ...ms(Number.NaN), limit: null, holds: null };
  for (const runs of [
    [[unmeasured], [ms(2.4)]],
    [[ms(2.4)], [unmeasured]],
  ])
    t.false(bestOf(runs)[0]?.holds);
  t.is(bestOf([[unmeasured], [unmeasured]])[0]?.holds, null);
});

test('a limit that is measured in each run is held against the value of that run', (t) => {
  const [bar] = bestOf([[ms(1.8, 1.5)], [ms(2.2, 2.1)]]);
  t.is(bar?.value, 2.2);
  t.false(bar?.holds);
});

test('what may never happen counts in every run', (t) => {
  const failed = (value: number): Bar => atMost('failed reads', value, '', 0, 9);
  for (const runs of [
    [0, 1],
    [1, 0],
  ])
    t.false(bestOf(runs.map((value) => [failed(value)]))[0]?.holds);
  t.true(bestOf([[failed(0)], [failed(0)]])[0]?.holds);
});

test('at least is the other way round', (t) => {
  const gain = (value: number): Bar => ({ ...ms(value, 10), holds: value >= 10, atLeast: true });
  t.is(bestOf([[gain(9)], [gain(12)]])[0]?.value, 12);
});

test('runs that measured other things are not put together', (t) => {
  t.throws(() => bestOf([[ms(1)], [{ ...ms(1), bar: 'call' }]]), {
    message: 'not in every run: swap',
  });
  t.throws(() => bestOf([[ms(1)], []]), { message: 'not in every run: swap' });
});

test('another run follows only while a bar is missed', async (t) => {
  const made: number[] = [];
  const giving = (values: number[]) => async () => {
    made.push(values[0] ?? 0);
    return [ms(values.shift() ?? 0)];
  };
  t.deepEqual((await untilHeld(giving([1.5, 9]), 3))[0]?.runs, [1.5]);
  t.deepEqual((await untilHeld(giving([3, 1.5, 9]), 3))[0]?.runs, [3, 1.5]);
  t.deepEqual((await untilHeld(giving([3, 4, 5, 6]), 3))[0]?.runs, [3, 4, 5]);
  t.deepEqual(made, [1.5, 3, 1.5, 3, 4, 5]);
});
