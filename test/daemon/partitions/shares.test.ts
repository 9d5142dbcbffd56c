import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { readSettings } from '../../../daemon/config/settings.ts';
import { adjustPartitions } from '../../../daemon/partitions/policies/threshold.ts';
import { policySettings } from '../../../daemon/partitions/policy-settings.ts';
import {
  checkShares,
  type Shares,
  settingsWith,
  sharesOf,
} from '../../../daemon/partitions/shares.ts';
import { temporaryFolder } from '../../support/temp.ts';

// The constants of the specification, as a person sets them.

const usual: Shares = { user: 50, least: 20, most: 80, grow: 80, shrink: 20, step: 10 };

/** What a settings file makes of it. */
function written(t: Parameters<typeof temporaryFolder>[0], text: string): Shares {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'persona.toml'), text);
  return sharesOf(readSettings(folder));
}

test('nothing that is said is the specification; what is said stands', (t) => {
  t.deepEqual(written(t, ''), usual);
  t.deepEqual(settingsWith(usual), policySettings);
  const shares = written(
    t,
    '[partitions]\nuser_percent = 60\nleast_percent = 10\nstep_percent = 5\n',
  );
  t.deepEqual(shares, { ...usual, user: 60, least: 10, step: 5 });
  t.like(settingsWith(shares), { userShare: 0.6, minShare: 0.1, threshold: { step: 0.05 } });
});

const refused: readonly (readonly [Partial<Shares>, RegExp])[] = [
  [{ user: 81 }, /part of the user.*from 20 to 80 %/],
  [{ user: 19 }, /part of the user/],
  [{ user: 25, most: 70 }, /from 30 to 70 %/],
  [{ least: 4 }, /at least 5 %/],
  [{ least: 60, most: 80 }, /the greatest part/],
  [{ most: 40 }, /at least 50 %/],
  [{ grow: 20 }, /below 20 %/],
  [{ step: 0 }, /at least 1 %/],
];

for (const [change, message] of refused)
  test(`what does not go together is refused: ${JSON.stringify(change)}`, (t) => {
    t.throws(() => checkShares({ ...usual, ...change }), { code: 'bad-value', message });
  });

test('whatever goes together keeps both sides between the bounds', (t) => {
  const percent = fc.integer({ min: 0, max: 100 });
  let together = 0;
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(
      fc.record({
        user: percent,
        least: percent,
        most: percent,
        grow: percent,
        shrink: percent,
        step: percent,
      }),
      fc.array(fc.tuple(share, share), { maxLength: 40 }),
      (shares, uses) => {
        try {
          checkShares(shares);
        } catch {
          return;
        }
        together += 1;
        const settings = settingsWith(shares);
        let sizes = { user: settings.userShare, system: 1 - settings.userShare };
        for (const [user, system] of uses) {
          sizes = adjustPartitions(sizes, { user, system }, settings).sizes;
          for (const size of [sizes.user, sizes.system]) {
            t.true(size >= settings.minShare - 1e-9 && size <= settings.maxShare + 1e-9);
          }
        }
      },
    ),
    { numRuns: 2_000 },
  );
  t.true(together > 0, 'some of them were not refused');
});
