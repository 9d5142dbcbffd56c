import test from 'ava';
import fc from 'fast-check';
import type { Range } from '../../../daemon/kernel/file-blocks.ts';
import { joined, outside, total } from '../../../daemon/volumes/ranges.ts';

const length = 64;
const pieces = fc.array(fc.record({ at: fc.nat(70), bytes: fc.nat(20) }), { maxLength: 12 });

/** Which bytes the pieces cover, one by one. */
function covered(ranges: readonly Range[]): boolean[] {
  return Array.from({ length }, (_, byte) =>
    ranges.some(({ at, bytes }) => byte >= at && byte < at + bytes),
  );
}

test('joined pieces cover the same bytes, in order, with gaps between them', (t) => {
  fc.assert(
    fc.property(pieces, (ranges) => {
      const seen = joined(ranges);
      t.deepEqual(covered(seen), covered(ranges));
      for (const [index, { at }] of seen.slice(1).entries()) {
        const before = seen[index]!;
        t.true(at > before.at + before.bytes);
      }
    }),
  );
  t.pass();
});

test('what is outside covers exactly the other bytes', (t) => {
  fc.assert(
    fc.property(pieces, (ranges) => {
      const rest = outside(ranges, length);
      t.deepEqual(
        covered(rest),
        covered(ranges).map((one) => !one),
      );
      t.is(total(rest), covered(rest).filter(Boolean).length);
    }),
  );
  t.pass();
});
