import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { silentLog } from '../../../daemon/changes/log.ts';
import {
  addSample,
  type HistoryRow,
  historySteps,
  meansOf,
  placeOf,
} from '../../../daemon/partitions/history.ts';
import { openRows, readHistory, writeHistory } from '../../../daemon/partitions/history-rows.ts';
import type { Observation } from '../../../daemon/partitions/observation.ts';
import { Recorder } from '../../../daemon/partitions/recorder.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { temporaryFolder } from '../../support/temp.ts';

const hour = 3_600_000;
const start = 1_700_000_000_000 - (1_700_000_000_000 % (24 * hour));

test('a row is the mean of its time, each sample with the time it stands for', (t) => {
  let open: HistoryRow[] = [];
  for (const [at, value, weight] of [
    [0, 10, 1000],
    [1000, 40, 3000],
  ] as const)
    open = addSample(open, { userBytes: value, waiting: Number.NaN }, weight, start + at).open;
  t.is(open.length, historySteps.length);
  t.deepEqual(meansOf(open[0]!), { userBytes: 32.5 });
  const { open: next, over } = addSample(open, { userBytes: 1 }, 1000, start + 10_000);
  t.deepEqual(over, [open[0]!]);
  t.deepEqual(meansOf(next[0]!), { userBytes: 1 });
  t.deepEqual(meansOf(next[1]!), { userBytes: (32.5 * 4 + 1) / 5 });
});

test('a time has one place in its ring, and the next round the same', (t) => {
  fc.assert(
    fc.property(fc.constantFrom(...historySteps), fc.nat(10 ** 12), ({ ms, rows }, at) => {
      const place = placeOf(ms, rows, at);
      return place >= 0 && place < rows && place === placeOf(ms, rows, at + ms * rows);
    }),
  );
  t.pass();
});

test('the rings are bounded, and a restart goes on with what was open', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'personad.db'));
  t.teardown(() => store.close());
  const { ms, rows } = historySteps[0];
  const all = Array.from({ length: rows + 5 }, (_, i) => ({
    stepMs: ms,
    atMs: start + i * ms,
    sums: { userBytes: [i, 1] as [number, number] },
  }));
  await writeHistory(store, all);
  const now = start + (rows + 4) * ms + 10;
  const found = await readHistory(store, ms, 0, now);
  t.is(found.length, rows);
  t.deepEqual(
    found.map(({ atMs }) => atMs),
    all.slice(5).map(({ atMs }) => atMs),
  );
  t.deepEqual(await openRows(store, now), [all.at(-1)!]);
  // A clock that was wrong: what it wrote of the future is not shown.
  t.deepEqual(await readHistory(store, ms, 0, start - ms), []);
  await store.commit((tx) => tx.run('UPDATE partition_history SET detail = \'{"userBytes":[1]}\''));
  t.deepEqual(meansOf((await readHistory(store, ms, 0, now))[0]!), {});
});

test('a clock that is set back by years keeps nothing from being written, and memory bounded', async (t) => {
  const folder = temporaryFolder(t);
  const store = await openStore(join(folder, 'personad.db'));
  t.teardown(() => store.close());
  const clock = { ms: start };
  const recorder = new Recorder({ store, folder, log: silentLog, wallMs: () => clock.ms });
  await recorder.start();
  let before: Observation | undefined;
  const look = (atMs: number) => {
    const swap = { swapTotalBytes: 0, swapFreeBytes: 0 };
    const now = { atMs, totalBytes: 100, availableBytes: 40, ...swap, sides: {} };
    recorder.add(before, now);
    before = now;
  };
  look(0);
  clock.ms -= 10 * 366 * 24 * hour;
  const since = clock.ms;
  for (let atMs = 10_000; atMs <= 3_600_000; atMs += 10_000) {
    clock.ms += 10_000;
    look(atMs);
  }
  t.true(recorder.pending(historySteps[0].ms).length <= 8);
  t.deepEqual(recorder.recentUse(), {
    stepMs: 10_000,
    used: Array.from({ length: 30 }, () => 0.6),
  });
  await recorder.stop();
  const found = await readHistory(store, historySteps[0].ms, since, clock.ms);
  t.true(found.length >= historySteps[0].rows - 1, `${found.length}`);
});

test('the last minutes are at hand, with gaps where nobody looked, and by the clock as it is now', async (t) => {
  const clock = { ms: start };
  const folder = temporaryFolder(t);
  const recorder = new Recorder({
    ...{ store: undefined, folder, log: silentLog },
    wallMs: () => clock.ms,
  });
  const used = () => recorder.recentUse().used;
  t.deepEqual(used(), []);
  const look = (atMs: number, availableBytes: number) => {
    const swap = { swapTotalBytes: 0, swapFreeBytes: 0 };
    recorder.add(undefined, { atMs, totalBytes: 100, availableBytes, ...swap, sides: {} });
  };
  look(0, 90);
  clock.ms += 10_000;
  look(10_000, 75);
  clock.ms += 30_000;
  look(40_000, 50);
  t.deepEqual(
    used().map((one) => one?.toFixed(2)),
    ['0.10', '0.25', undefined, undefined, '0.50'],
  );
  clock.ms -= 24 * hour;
  look(50_000, 40);
  t.deepEqual(used(), [0.6]);
  clock.ms += 48 * hour;
  look(60_000, 30);
  t.deepEqual(used(), [0.7]);
});
