import test from 'ava';
import fc from 'fast-check';
import { type Side, sides } from '../../../../daemon/partitions/observation.ts';
import { anyPolicy } from '../../../../daemon/partitions/policy.ts';
import { policySettings } from '../../../../daemon/partitions/policy-settings.ts';
import {
  compare,
  machineOf,
  quantile,
  runNamed,
  seededScenario,
} from '../../../../daemon/partitions/simulator/comparison.ts';
import { simulatedGround } from '../../../../daemon/partitions/simulator/groups.ts';
import type { SimulatedMachine } from '../../../../daemon/partitions/simulator/machine.ts';
import { rareOraclePolicy } from '../../../../daemon/partitions/simulator/oracle.ts';
import { publishedTable } from '../../../../daemon/partitions/simulator/published.ts';
import { replay } from '../../../../daemon/partitions/simulator/replay.ts';
import { run } from '../../../../daemon/partitions/simulator/run.ts';
import { type Load, scenarioOf } from '../../../../daemon/partitions/simulator/scenario.ts';
import { readTrace, traceLimits } from '../../../../daemon/partitions/simulator/trace.ts';

function* scenarios(model: 'heat' | 'first-order', count: number) {
  for (let seed = 1; seed <= count; seed++) yield seededScenario(model, seed);
}

test('a seed is a scenario for ever, and a run of it the same', async (t) => {
  t.deepEqual(seededScenario('heat', 7), seededScenario('heat', 7));
  t.notDeepEqual(seededScenario('heat', 7), seededScenario('heat', 8));
  const once = () => runNamed('protective', 'heat', seededScenario('heat', 7));
  t.deepEqual(await once(), await once());
});

test('memory is conserved: nobody holds what the machine does not have', (t) => {
  for (const model of ['heat', 'first-order'] as const) {
    const scenario = seededScenario(model, 3);
    const machine = machineOf(model, scenario);
    for (let second = 0; second < scenario.seconds; second++) {
      const done = machine.advance(second);
      const seen = machine.observe(second);
      const held = sides.map((side) => seen.sides[side]!.currentBytes);
      t.true(held.every((bytes) => bytes >= 0));
      t.true(held[0]! + held[1]! <= scenario.totalBytes * 1.000001);
      for (const side of sides) {
        const { shortBytes, avoidableBytes, waited } = done[side];
        if (avoidableBytes > shortBytes + 1 || shortBytes < 0 || waited < 0 || waited > 1)
          t.fail(`${model} ${second} ${side}`);
      }
    }
  }
});

test('a protection is honoured while the other side can give, and a limit always', (t) => {
  const scenario = seededScenario('heat', 5);
  const machine = machineOf('heat', scenario);
  machine.write('system', 'memory.high', 2 * 2 ** 30);
  for (let second = 0; second < 4000; second++) machine.advance(second);
  t.true(machine.observe(4000).sides.system!.currentBytes <= 2 * 2 ** 30 + 1);
  t.is(machine.read('system', 'memory.high'), 2 * 2 ** 30);
  t.is(machine.write('system', 'memory.high', 'max'), 'max');
});

test("the user's working set is not waited for while a program of the system never has enough", async (t) => {
  const [MiB, seconds] = [2 ** 20, 300];
  const load = (side: Side, start: number, mib: number): Load => {
    return { side, start, ramp: 20, end: seconds, bytes: mib * MiB, turns: [] };
  };
  const loads = [load('user', 0, 600), load('system', 0, 80), load('system', 60, 1600)];
  const scenario = scenarioOf('hog', 1970 * MiB, seconds, loads);
  const { waited } = await runNamed('protective', 'first-order', scenario);
  t.true(waited.user < 0.01, `${waited.user}`);
  t.true(waited.system > 0.05, 'there was not enough for both');
});

test('the first-order model comes near the published table', async (t) => {
  // The bench holds each figure against its bar; here a model that went wrong is found.
  const shares = ['avoidable', 'writes', 'reversals'];
  for (const { what, ours, published } of await publishedTable())
    if (!shares.some((name) => what.endsWith(name)))
      t.true(Math.abs(ours / published - 1) <= 0.15, `${what}: ${ours} against ${published}`);
});

test('protective leaves no avoidable shortage where all memory is wanted, and takes nothing back', async (t) => {
  const [ours, oracle] = await compare(
    ['protective', 'oracle'],
    'first-order',
    scenarios('first-order', 20),
  );
  t.true(ours!.avoidable <= 0.02);
  t.is(ours!.reversals, 0);
  t.true(ours!.shortGiBs <= 1.05 * oracle!.shortGiBs);
  t.true(ours!.writesMedian <= 10);
});

test('with page heat protective does better than every other law but the oracle, without taking a move back', async (t) => {
  const names = [
    'protective',
    'threshold',
    'static',
    'memavaild-like',
    'senpai-like',
    'low-only',
    'oracle',
  ];
  const rows = await compare(names, 'heat', scenarios('heat', 8));
  const [ours, ...others] = rows;
  t.is(ours!.reversals, 0);
  for (const other of others) {
    if (other.policy === 'oracle') t.true(other.shortGiBs <= ours!.shortGiBs);
    else t.true(ours!.shortGiBs < other.shortGiBs, other.policy);
  }
});

test('knowing everything, and writing seldom, is no better than an oracle and no worse than all others', async (t) => {
  const rows = await compare(['rare-oracle', 'oracle', 'threshold'], 'heat', scenarios('heat', 4));
  const [rare, oracle, threshold] = rows;
  t.true(oracle!.shortGiBs < rare!.shortGiBs && rare!.shortGiBs < threshold!.shortGiBs);
  t.true(rare!.writesMedian < oracle!.writesMedian / 20);
});

test('whatever is known: who writes less often leaves more shortage that could be avoided', async (t) => {
  const found: { writes: number; avoidable: number }[] = [];
  for (const band of [0, 0.01, 0.02, 0.05]) {
    let [writes, avoidable] = [0, 0];
    for (const scenario of scenarios('heat', 4)) {
      const machine = machineOf('heat', scenario);
      const policy = anyPolicy(rareOraclePolicy(machine, band));
      const settings = policySettings;
      const one = await run({ machine, scenario, policy, settings, unguarded: true });
      writes += one.writesPerHour / 4;
      avoidable += one.avoidableGiBsPerHour / one.shortGiBsPerHour / 4;
    }
    found.push({ writes, avoidable });
  }
  for (const [at, { writes, avoidable }] of found.entries()) {
    const before = found[at - 1];
    t.log(`${writes.toFixed(1)} writes an hour, ${(avoidable * 100).toFixed(1)} % avoidable`);
    if (before !== undefined) t.true(writes < before.writes && avoidable > before.avoidable);
  }
});

test('launches that are announced and never come cost little', async (t) => {
  let [told, lied] = [0, 0];
  for (const scenario of scenarios('heat', 6)) {
    const launches = Array.from({ length: scenario.seconds }, (_, second) => ({
      second,
      side: second % 600 < 300 ? ('user' as const) : ('system' as const),
      bytes: scenario.totalBytes,
    }));
    told += (await runNamed('protective', 'heat', scenario)).shortGiBsPerHour;
    const lies = { ...scenario, launches };
    lied += (await runNamed('protective', 'heat', lies, { hints: true })).shortGiBsPerHour;
  }
  t.true(lied <= 1.05 * told, `${lied} against ${told}`);
});

test('a daemon that is killed gives back what it had, and the next one comes to as little shortage', async (t) => {
  const kills = (second: number) => second % 900 === 450;
  const scenario = seededScenario('heat', 2);
  let held = 0;
  let knobs: SimulatedMachine | undefined;
  const often = await runNamed('protective', 'heat', scenario, {
    killed: kills,
    told(second, _, machine) {
      knobs = machine;
      if (kills(second + 1) && machine.read('user', 'memory.low') !== 0) held++;
    },
  });
  t.is(held, 16);
  for (const side of sides)
    t.deepEqual([knobs!.read(side, 'memory.low'), knobs!.read(side, 'memory.high')], [0, 'max']);
  const whole = await runNamed('protective', 'heat', scenario);
  t.true(often.shortGiBsPerHour <= 1.1 * whole.shortGiBsPerHour);
});

test('simulated knobs are leased: what another program sets is left alone, and stays', async (t) => {
  const scenario = seededScenario('heat', 1);
  const theirs = 123 * 4096;
  const seen = new Set<unknown>();
  let knobs: SimulatedMachine | undefined;
  await runNamed('protective', 'heat', scenario, {
    told(second, _, machine) {
      knobs = machine;
      if (second === 1000) machine.write('user', 'memory.low', theirs);
      // For ten minutes from when it was last seen so, and it stands for good.
      if (second > 1000) seen.add(machine.read('user', 'memory.low'));
    },
  });
  t.deepEqual([...seen], [theirs]);
  const left = sides.map((side) => [
    knobs!.read(side, 'memory.low'),
    knobs!.read(side, 'memory.high'),
  ]);
  t.deepEqual(left, [
    [theirs, 'max'],
    [0, 'max'],
  ]);
});

test('the simulated pair reads what a kernel would', async (t) => {
  const machine = machineOf('heat', seededScenario('heat', 1));
  const held = simulatedGround(machine).hold('/simulated', 'user')!;
  await held.write('memory.low', '10000', 1000);
  t.is(held.read('memory.low'), '8192');
  await held.write('memory.high', 'max', 1000);
  t.is(held.read('memory.high'), 'max');
  t.is(held.read('memory.max'), undefined);
  t.is(simulatedGround(machine).hold('/simulated', 'other'), undefined);
});

/** Two minutes in which both sides want more than there is. */
const tight = (() => {
  const MiB = 2 ** 20;
  const load = (side: Side, start: number, bytes: number): Load => {
    return { side, start, ramp: 20, end: 120, bytes, turns: [] };
  };
  const loads = [load('user', 0, 600 * MiB), load('system', 10, 800 * MiB)];
  return scenarioOf('tight', 1000 * MiB, 120, loads);
})();

test('what comes back from a slower place is waited for longer; zram keeps a part of what it takes', async (t) => {
  const waits: number[] = [];
  for (const swapOn of ['zram', 'nvme', 'sata'] as const) {
    let held = 0;
    const { waited } = await runNamed('protective', 'heat', tight, {
      swapOn,
      told(second, _, machine) {
        const seen = machine.observe(second);
        held = seen.sides.user!.currentBytes + seen.sides.system!.currentBytes;
      },
    });
    waits.push(waited.user + waited.system);
    t.is(held < tight.totalBytes * 0.95, swapOn === 'zram', `${swapOn}: ${held}`);
  }
  const [zram, nvme, sata] = waits as [number, number, number];
  t.true(zram < nvme && nvme < sata, `${waits}`);
});

test('quantiles are values that were measured', (t) => {
  t.is(quantile([3, 1, 2], 0.5), 2);
  t.is(quantile([1, 2, 3, 4], 0.95), 4);
  t.is(quantile([], 0.5), undefined);
});

const day = 'seconds,user_bytes,system_bytes\n0,1000000,2000000\n10,3000000,2000000\n';

test('our own form of a trace is read', (t) => {
  const { scenario } = readTrace('day', day, 2 ** 30);
  t.is(scenario.seconds, 10);
  t.is(scenario.totalBytes, 2 ** 30);
  t.is(scenario.sides.user.start[0], 1_000_000);
  t.is(Math.round(scenario.sides.user.start[5]!), 200_000);
});

test('the machine of a recorded trace is what was left to both sides, whose page cache is available, too', (t) => {
  const head =
    'seconds,user_bytes,system_bytes,user_cache_bytes,system_cache_bytes,total_bytes,available_bytes';
  const GiB = 2 ** 30;
  const traceOf = (...rows: number[][]) =>
    [
      head,
      ...rows.map((row, second) => [second, ...row.map((gib) => Math.round(gib * GiB))].join(',')),
    ].join('\n');
  const gib = (text: string, memory?: number) =>
    readTrace('day', text, memory).scenario.totalBytes / GiB;
  // 32 GiB, of which others have 2; nine are used, two of them page cache.
  const quiet = traceOf([6, 3, 2, 0, 32, 23], [6, 3, 2, 0, 32, 23], [6, 3, 2, 0, 32, 3]);
  t.is(gib(quiet), 30, 'a moment at which others had more does not count');
  t.is(gib(quiet, 16 * GiB), 16, 'who says a size has it');
  const busy = traceOf([20, 9, 16, 6, 32, 23], [20, 9, 16, 6, 32, 23]);
  t.is(gib(busy), 30, 'page cache that fills the machine is not counted twice');
  t.is(gib(busy.replaceAll(String(16 * GiB), '').replaceAll(String(6 * GiB), '')), 32);
  const later = [3, 1, 0, 0, 32, 0];
  t.is(gib(traceOf([20, 9, 0, 0, 32, 0], later, later)), 29, 'no less than both had');
  const { remarks } = readTrace('day', quiet);
  t.deepEqual(remarks, [
    'a machine of 30.00 GiB: what was left to both sides when it was recorded',
  ]);
});

test('a trace of the Bitbrains form is read, and replayed within a day', (t) => {
  const head =
    'Timestamp [ms];\tCPU cores;\tMemory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s]';
  const rows = Array.from(
    { length: 1000 },
    (_, i) => `${1376314846 + i * 300};\t1;\t2097152.0;\t${1000 + i}.5;\t0.0`,
  );
  const { scenario, remarks } = readTrace('vm', [head, ...rows].join('\n'));
  t.true(scenario.seconds <= traceLimits.seconds);
  t.is(remarks.length, 3);
});

const refused: Record<string, string> = {
  empty: '',
  'no known columns': 'a,b,c\n1,2,3\n4,5,6\n',
  'one row': 'seconds,user_bytes,system_bytes\n0,1,2\n',
  'time that stands still': 'seconds,user_bytes,system_bytes\n0,1,2\n0,1,2\n',
  'time that goes back': 'seconds,user_bytes,system_bytes\n5,1,2\n4,1,2\n',
  'a negative value': 'seconds,user_bytes,system_bytes\n0,-1,2\n1,1,2\n',
  'a value that is none': 'seconds,user_bytes,system_bytes\n0,NaN,2\n1,1,2\n',
  'an exponent': 'seconds,user_bytes,system_bytes\n0,1e300,2\n1,1,2\n',
  'more memory than there can be':
    'seconds,user_bytes,system_bytes\n0,999999999999999999,2\n1,1,2\n',
  'a missing cell': 'seconds,user_bytes,system_bytes\n0,1\n1,1,2\n',
  'a long line': `seconds,user_bytes,system_bytes\n0,1,2${','.repeat(2000)}\n1,1,2\n`,
};

for (const [what, text] of Object.entries(refused))
  test(`a trace with ${what} is refused with its line`, (t) => {
    t.throws(() => readTrace('x', text), { message: /line \d+/ });
  });

test('whatever a trace file holds, it is read or refused', (t) => {
  const cell = fc.oneof(fc.nat().map(String), fc.string({ maxLength: 12 }));
  const row = fc.array(cell, { maxLength: 5 }).map((cells) => cells.join(','));
  fc.assert(
    fc.property(fc.array(row, { maxLength: 12 }), (rows) => {
      try {
        readTrace('x', ['seconds,user_bytes,system_bytes', ...rows].join('\n'));
      } catch (error) {
        return (error as { code?: string }).code === 'bad-value';
      }
      return true;
    }),
  );
  t.pass();
});

const gibs = ['seconds,user_bytes,system_bytes', ...[0, 30].map((at) => [at, 2 ** 31, 2 ** 31])];

test('a replay goes by the shares that it is given, and refuses those that could not be set', async (t) => {
  const highs = async (user?: number) => {
    const task = { policies: ['static'], trace: 'gibs', totalBytes: 2 ** 34, points: 3 };
    const shares = user === undefined ? {} : { shares: { user } };
    const { plots, remarks } = await replay({ ...task, ...shares }, () => gibs.join('\n'));
    t.is(remarks.join(), user === undefined ? '' : `the parts of both sides: user ${user} %`);
    return sides.map((side) => plots[0]!.high[side].at(-1)!.toFixed(3));
  };
  t.deepEqual(await highs(20), ['0.200', '0.800']);
  t.deepEqual(await highs(80), ['0.800', '0.200']);
  t.deepEqual(await highs(), ['0.500', '0.500']);
  for (const shares of [{ user: 90 }, { least: 60 }, { grow: 10 }, { step: 0 }, { step: 300 }])
    await t.throwsAsync(
      replay({ policies: ['static'], shares }, () => ''),
      { code: 'bad-value' },
    );
});

test('a replay answers a row and a plot for each policy', async (t) => {
  const answer = await replay(
    { policies: ['static', 'protective'], trace: 'day', points: 5 },
    () => day,
  );
  t.deepEqual(
    answer.rows.map(({ policy }) => policy),
    ['static', 'protective'],
  );
  t.is(answer.plots[0]!.used.user.length, 5);
  await t.throwsAsync(
    replay({ policies: ['none'] }, () => ''),
    { code: 'bad-value' },
  );
  await t.throwsAsync(
    replay({ policies: [], seeds: 0 }, () => ''),
    { code: 'bad-value' },
  );
});
