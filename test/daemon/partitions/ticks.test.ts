import test from 'ava';
import type { Glance } from '../../../daemon/partitions/machine-look.ts';
import type { Observation } from '../../../daemon/partitions/observation.ts';
import { tickMs, worthALook } from '../../../daemon/partitions/ticks.ts';

const GiB = 2 ** 30;

test('glances are rarer only where nothing is managed and nothing was to be seen for a while', (t) => {
  const cases: [manages: boolean, quietMs: number, ms: number][] = [
    [false, 0, 1_000],
    [false, 19_999, 1_000],
    [false, 20_000, 5_000],
    [false, 3_600_000, 5_000],
    [true, 0, 1_000],
    [true, 3_600_000, 1_000],
  ];
  for (const [manages, quietMs, ms] of cases) t.is(tickMs(manages, quietMs), ms);
});

test('a full look is taken when there is something to see', (t) => {
  const last: Observation = {
    atMs: 50_000,
    totalBytes: 16 * GiB,
    availableBytes: 8 * GiB,
    swapTotalBytes: 0,
    swapFreeBytes: 0,
    pressure: { someUs: 700 },
    sides: {},
  };
  const same: Glance = { totalBytes: 16 * GiB, availableBytes: 8 * GiB, someUs: 700 };
  const { someUs: _, ...without } = same;
  const cases: [glance: Glance, atMs: number, limited: boolean, seen: string | undefined][] = [
    [same, 51_000, false, undefined],
    [same, 51_000, true, 'limits'],
    [same, 59_999, false, undefined],
    [same, 60_000, false, 'time'],
    [{ ...same, someUs: 701 }, 51_000, false, 'waiting'],
    [{ ...same, availableBytes: 8.1 * GiB }, 51_000, false, undefined],
    [{ ...same, availableBytes: 8.2 * GiB }, 51_000, false, 'memory'],
    [{ ...same, availableBytes: 7.8 * GiB }, 51_000, false, 'memory'],
    [{ ...same, totalBytes: 17 * GiB }, 51_000, false, 'total'],
    [without, 51_000, false, 'no-pressure-files'],
  ];
  for (const [glance, atMs, limited, seen] of cases)
    t.is(worthALook(last, glance, atMs, limited), seen);
  t.is(worthALook(undefined, same, 51_000, false), 'first');
});
