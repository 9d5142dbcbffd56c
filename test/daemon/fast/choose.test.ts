import test from 'ava';
import { type Candidate, choose } from '../../../daemon/fast/choose.ts';

const disk = { syncMs: 0.5, readMs: 0.1 };
const ram: Candidate = { on: 'ram', syncMs: 0.005, readMs: 0.02 };
const nvme: Candidate = { on: 'nvme', syncMs: 0.45, readMs: 0.1 };

test('the first that gains is taken, with the figures', (t) => {
  const { on, why, figures } = choose(disk, [ram, nvme]);
  t.is(on, 'ram');
  t.is(
    why,
    'ram: writes that wait for the disk 100 times as fast (5 us against 500 us), cold reads 5.0 times (20 us against 100 us)',
  );
  t.deepEqual(figures, [{ on: 'disk', ...disk }, ram, nvme]);
});

test('what may not be had is passed over, and said', (t) => {
  const zram: Candidate = { on: 'zram', syncMs: 0.02, readMs: 0.05 };
  const { on, why, figures } = choose(disk, [{ on: 'ram', refused: 'too much' }, zram]);
  t.is(on, 'zram');
  t.regex(why, /^ram: too much; zram: writes .* 25 times/);
  t.deepEqual(figures, [{ on: 'disk', ...disk }, zram]);
});

test('less than twice as fast is no gain, and cold reads alone can be one', (t) => {
  const { on, why } = choose(disk, [{ on: 'ram', refused: 'no memory' }, nvme]);
  t.is(on, 'none');
  t.regex(why, /^no gain: ram: no memory; nvme: writes that wait for the disk 1\.1 times/);
  t.is(choose(disk, [{ on: 'zram', syncMs: 0.26, readMs: 0.051 }]).on, 'none');
  t.is(choose(disk, [{ on: 'zram', syncMs: 0.25, readMs: 0.1 }]).on, 'zram');
  t.is(choose(disk, [{ on: 'nvme', syncMs: 0.6, readMs: 0.05 }]).on, 'nvme');
  t.is(choose(disk, []).on, 'none');
});

test('a time too short to be measured is no division by nothing', (t) => {
  t.is(choose(disk, [{ on: 'ram', syncMs: 0, readMs: 0 }]).on, 'ram');
  t.is(choose({ syncMs: 0, readMs: 0 }, [{ on: 'ram', syncMs: 0, readMs: 0 }]).on, 'none');
});
