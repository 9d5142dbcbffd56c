import test from 'ava';
import fc from 'fast-check';
import { adjustPartitions } from '../../../../daemon/partitions/policies/threshold.ts';
import { policySettings } from '../../../../daemon/partitions/policy-settings.ts';

const adjust = (user: number, useOfUser: number, useOfSystem: number) => {
  const { sizes } = adjustPartitions(
    { user: user / 100, system: 1 - user / 100 },
    { user: useOfUser / 100, system: useOfSystem / 100 },
    policySettings,
  );
  return [Math.round(sizes.user * 100), Math.round(sizes.system * 100)];
};

test('case 1: the user side uses more than 80 % of its size and grows by ten points', (t) => {
  t.deepEqual(adjust(50, 41, 20), [60, 40]);
  t.deepEqual(adjust(50, 40, 20), [50, 50], 'exactly 80 % is not more');
  t.deepEqual(adjust(75, 70, 10), [80, 20], 'the system side stays at its least size');
  t.deepEqual(adjust(80, 79, 10), [80, 20], 'not beyond the greatest size');
});

test('case 2: the system side uses more than 80 % of its size and grows by ten points', (t) => {
  t.deepEqual(adjust(50, 20, 41), [40, 60]);
  t.deepEqual(adjust(25, 10, 70), [20, 80], 'the user side stays at its least size');
  t.deepEqual(adjust(20, 10, 79), [20, 80]);
});

test('case 3: the user side uses less than 20 % of its size and gives ten points', (t) => {
  t.deepEqual(adjust(50, 9, 20), [40, 60]);
  t.deepEqual(adjust(50, 10, 20), [50, 50], 'exactly 20 % is not less');
  t.deepEqual(adjust(20, 1, 30), [20, 80], 'not below the least size');
});

test('case 4: the system side uses less than 20 % of its size and gives ten points', (t) => {
  t.deepEqual(adjust(50, 20, 9), [60, 40]);
  t.deepEqual(adjust(80, 40, 1), [80, 20]);
});

test('the tests come in order, each on the sizes that the one before has left', (t) => {
  t.deepEqual(adjust(50, 45, 45), [50, 50], 'both grow: back where it was');
  t.deepEqual(adjust(50, 45, 8), [70, 30], 'the second test that fires is the fourth');
  t.deepEqual(adjust(50, 8, 9), [50, 50], 'both shrink');
});

test('sizes are bounded and add up to the total, whatever is used', (t) => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(share, share), { maxLength: 60 }), (uses) => {
      let sizes = { user: policySettings.userShare, system: 1 - policySettings.userShare };
      for (const [user, system] of uses) {
        sizes = adjustPartitions(sizes, { user, system }, policySettings).sizes;
        if (Math.abs(sizes.user + sizes.system - 1) > 1e-9) return false;
        if (sizes.user < 0.2 - 1e-9 || sizes.user > 0.8 + 1e-9) return false;
      }
      return true;
    }),
  );
  t.pass();
});
