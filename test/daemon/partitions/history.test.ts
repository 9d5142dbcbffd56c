import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
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
import type { Store } from '../../../daemon/store/store.ts';
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

/** A recorder of disks that are files, on a clock of the test. */
function disksOf(t: ExecutionContext, names: readonly string[], store?: Store) {
  const folder = temporaryFolder(t);
  const block = join(folder, 'block');
  const counters = new Map(names.map((name) => [name, { reads: 0, readMs: 0, busyMs: 0 }]));
  const show = () => {
    for (const [name, { reads, readMs, busyMs }] of counters) {
      mkdirSync(join(block, name), { recursive: true });
      writeFileSync(join(block, name, 'size'), '2048\n');
      writeFileSync(join(block, name, 'stat'), `${reads} 0 0 ${readMs} 0 0 0 0 0 ${busyMs} 0\n`);
    }
  };
  show();
  const wallMs = () => start;
  const recorder = new Recorder({ store, folder, block, log: silentLog, wallMs });
  /** So many more reads of a disk, each of this time. */
  const read = (name: string, reads: number, each: number) => {
    const one = counters.get(name)!;
    one.reads += reads;
    one.readMs += reads * each;
    one.busyMs += reads * each;
    show();
  };
  return { recorder, read };
}

test('disks are looked at every ten seconds, each second while one is busy, and when somebody asks', (t) => {
  const { recorder, read } = disksOf(t, ['nvme0n1', 'nvme1n1']);
  const looks = (atMs: number, asked = false) => {
    recorder.lookAtDisks(atMs, asked);
    return recorder.disks!.atMs === atMs;
  };
  t.true(looks(0));
  t.false(looks(9000));
  t.true(looks(9000, true), 'somebody asks');
  t.false(looks(9400, true), 'too soon for rates to say anything');
  t.false(looks(18_000));
  read('nvme1n1', 500, 1);
  t.true(looks(19_000));
  t.false(looks(19_900));
  read('nvme1n1', 500, 1);
  t.true(looks(20_000));
  read('nvme1n1', 1, 1);
  t.true(looks(21_000));
  t.false(looks(22_000), 'the noise of an idle disk is none');
  t.deepEqual(
    recorder.disks!.disks.map(({ rates }) => rates?.busy),
    [0, 0.001],
  );
});

test('each disk has its history, four at most, and latency is that of all requests', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'personad.db'));
  t.teardown(() => store.close());
  const names = [0, 1, 2, 3, 4].map((disk) => `nvme${disk}n1`);
  const { recorder, read } = disksOf(t, names, store);
  recorder.lookAtDisks(0);
  read('nvme0n1', 90, 1);
  read('nvme4n1', 10, 11);
  recorder.lookAtDisks(10_000);
  read('nvme0n1', 300, 1);
  recorder.lookAtDisks(20_000);
  const { ms } = historySteps[1];
  const [row] = recorder.pending(ms);
  const { disks, diskLatencyMs, diskRequestsPerSecond } = meansOf(row!);
  t.is(diskLatencyMs, 1.25, '500 ms of 400 requests');
  t.is(diskRequestsPerSecond, 20);
  t.deepEqual(Object.keys(disks!), names.slice(0, 4));
  t.like(disks!.nvme0n1, { latencyMs: 1, requestsPerSecond: 19.5, inFlight: 0 });
  t.is(disks!.nvme1n1!.latencyMs, undefined);
  await recorder.stop();
  t.deepEqual(await readHistory(store, ms, 0, start), [row!]);
  const broken = '{"userBytes":[2,1],"disks":{"nvme0n1":{"latencyMs":[1]},"nvme1n1":5}}';
  await store.commit((tx) => tx.run('UPDATE partition_history SET detail = ?', broken));
  const [read0] = await readHistory(store, ms, 0, start);
  t.deepEqual(meansOf(read0!), { userBytes: 2, disks: { nvme0n1: {}, nvme1n1: {} } });
});
