import { readFileSync } from 'node:fs';
import test from 'ava';
import { sides } from '../../../../daemon/partitions/observation.ts';
import { firstOrderMachine } from '../../../../daemon/partitions/simulator/first-order.ts';
import { likeness } from '../../../../daemon/partitions/simulator/recorded.ts';
import { replay } from '../../../../daemon/partitions/simulator/replay.ts';
import { scenarioOf } from '../../../../daemon/partitions/simulator/scenario.ts';
import { readTrace } from '../../../../daemon/partitions/simulator/trace.ts';

const MiB = 2 ** 20;
const head =
  'seconds,user_bytes,system_bytes,user_swap_bytes,system_swap_bytes,user_waiting,system_waiting';

/** What `partitions record` would have written of a simulated machine on which nothing is managed. */
function recordedText(): string {
  const scenario = scenarioOf('short of memory', 1000 * MiB, 120, [
    { side: 'user', start: 0, ramp: 1, end: 120, bytes: 500 * MiB, turns: [] },
    { side: 'system', start: 30, ramp: 20, end: 90, bytes: 800 * MiB, turns: [] },
  ]);
  const machine = firstOrderMachine(scenario);
  const rows: string[] = [];
  for (let second = 0; second < scenario.seconds; second++) {
    const done = machine.advance(second);
    const seen = machine.observe(second);
    const wanted = machine.wanted(second);
    const held = sides.map((side) => seen.sides[side]!.currentBytes);
    const swap = sides.map((side, at) => (wanted[side][0] ?? 0) - held[at]!);
    const cells = [second, ...held, ...swap].map((one) => Math.round(one));
    rows.push([...cells, ...sides.map((side) => done[side].waited.toFixed(4))].join(','));
  }
  return [head, ...rows].join('\n');
}

test('what a machine without page heat recorded is what that model makes of it', (t) => {
  const { scenario, recorded } = readTrace('own', recordedText());
  t.is(Math.round(scenario.totalBytes / MiB), 1000, 'as much as both held at most');
  const alike = likeness('first-order', scenario, recorded!);
  for (const side of sides) {
    const { heldOff, recorded: was, derived } = alike[side];
    t.true(was > 0.05, `${side} waited ${was}`);
    t.true(Math.abs(derived - was) < 0.01, `${side}: ${derived} for ${was}`);
    t.true(heldOff < 0.01, `${side}: ${heldOff}`);
  }
});

test('a replay says how far it is from what was recorded, and nothing where that was not told', async (t) => {
  const task = { policies: ['protective'], model: 'first-order', trace: 'own' } as const;
  const text = recordedText();
  const { remarks } = await replay(task, () => text);
  t.is(remarks.filter((one) => /waited .* when it was recorded/.test(one)).length, 2);
  const bare = text.split('\n').map((row) => row.split(',').slice(0, 3).join(','));
  const without = await replay(task, () => bare.join('\n'));
  t.false(without.remarks.some((one) => one.includes('when it was recorded')));
  const empty = text
    .split('\n')
    .map((row, at) => (at === 0 ? row : `${row.replace(/,[^,]*,[^,]*$/, '')},,`));
  t.is(readTrace('empty', empty.join('\n')).recorded, undefined);
});

/** Recorded by `partitions record` in a guest of 2 GiB. The stated error of a side's waiting, as a share of the time. */
const waitingOff = { 'recorded-short.csv': 0.02, 'recorded-shorter.csv': 0.09 };

for (const [name, off] of Object.entries(waitingOff))
  for (const model of ['first-order', 'heat'] as const)
    test(`${name} is replayed within the stated error (${model})`, (t) => {
      const text = readFileSync(new URL(name, import.meta.url), 'utf8');
      const { scenario, recorded } = readTrace(name, text);
      const alike = likeness(model, scenario, recorded!);
      for (const side of sides) {
        const { heldOff, recorded: was, derived } = alike[side];
        t.true(heldOff <= 0.012, `${side} holds ${heldOff}`);
        t.true(Math.abs(derived - was) <= off, `${side} waited ${was}, derived ${derived}`);
      }
    });
