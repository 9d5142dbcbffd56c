import test from 'ava';
import fc from 'fast-check';
import { policySettings } from '../../../daemon/partitions/policy-settings.ts';
import { spareOf } from '../../../daemon/partitions/spare.ts';
import { GiB, lives, look } from './looks.ts';

const spare = (...args: Parameters<typeof look>) => spareOf(look(...args), policySettings);

test('a side that holds what it must have is owed nothing; one that holds less is owed the rest', (t) => {
  // The floor of each is 20 % of 16 GiB; anonymous memory can go to swap here, so that nothing is held for good.
  const idle = spare(0);
  t.is(idle.spareBytes, Math.floor(8 * GiB - 2 * 0.2 * 16 * GiB));
  const pinned = { currentBytes: 6 * GiB, anonBytes: 4 * GiB };
  const held = spare(0, pinned, pinned, { swapFreeBytes: 0 });
  const floor = 4 * GiB * 1.05 + 64 * 2 ** 20;
  t.is(held.spareBytes, Math.floor(8 * GiB - 2 * (floor - 4 * GiB)));
});

test('sides that cannot be seen are owed their least share', (t) => {
  const { spareBytes, userShareBytes } = spareOf({ ...look(0), sides: {} }, policySettings);
  t.is(spareBytes, Math.floor(8 * GiB - 2 * 0.2 * 16 * GiB));
  t.is(userShareBytes, Math.floor(0.8 * 16 * GiB));
});

test('the share of the user side shrinks by what the system cannot give up', (t) => {
  const busy = { currentBytes: 10 * GiB, anonBytes: 8 * GiB };
  const { userShareBytes } = spare(0, {}, busy, { swapFreeBytes: 0 });
  t.is(userShareBytes, Math.floor(16 * GiB - (8 * GiB * 1.05 + 64 * 2 ** 20)));
});

test('whatever a machine does, nothing that is not there is spared', (t) => {
  fc.assert(
    fc.property(lives, (looks) => {
      for (const one of looks) {
        const { spareBytes, userShareBytes } = spareOf(one, policySettings);
        t.true(spareBytes >= 0 && spareBytes <= one.availableBytes);
        t.true(userShareBytes >= 0 && userShareBytes <= one.totalBytes * policySettings.maxShare);
      }
    }),
  );
});
