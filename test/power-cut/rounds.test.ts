import test from 'ava';
import { when } from '../support/needs.ts';
import { randomFrom } from './crash-states.ts';
import { kinds, needsRecordedDisk } from './recorded-disk.ts';
import { chooseCuts, cutPower, record } from './rounds.ts';

// SECURITY 6: the power fails while the daemon imports, swaps, rolls back and removes. Every write and every flush of
// its disk was recorded; each round makes the disk as the cut would have left it, and looks at everything.

/** States that are looked at. `POWER_CUTS=200` looks longer, `POWER_CUT_SEED` repeats a run's choice of moments. */
const count = Number(process.env.POWER_CUTS ?? 24);
const seed = Number(process.env.POWER_CUT_SEED ?? Math.floor(Math.random() * 2 ** 31));

for (const [name, kind] of Object.entries(kinds))
  when(test, needsRecordedDisk(kind))(
    `after a power cut on ${name} all is whole, and nothing promised is lost`,
    async (t) => {
      t.timeout(60_000 + count * 10_000);
      const recording = await record(t, kind);
      t.log(`seed ${seed}, ${recording.entries.length} writes and flushes`);
      const cuts = chooseCuts(recording, count, randomFrom(seed));
      const verdicts = await cutPower(recording, cuts, seed);
      t.deepEqual(
        verdicts.filter(({ faults }) => faults.length > 0),
        [],
        `seed ${seed}`,
      );
      t.is(verdicts.length, count);
    },
  );
