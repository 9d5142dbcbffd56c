import test from 'ava';
import fc from 'fast-check';
import { before } from '../../../daemon/personas/generation.ts';
import { SlotBook } from '../../../daemon/personas/slot-book.ts';
import { dispensable, retentionOf } from '../../../daemon/personas/slot-retention.ts';
import type { Generation, Slot, Upper } from '../../../daemon/personas/slot-rows.ts';

const day = 86_400_000;

function generation(number: number, upper: string, more: Partial<Generation> = {}): Generation {
  return {
    slot: 'work',
    number,
    base: { digest: 'x' },
    upper,
    layers: [],
    environment: {},
    state: 'good',
    reason: 'swap',
    startedMs: number,
    endedMs: number,
    ...more,
  };
}

function upper(id: string, state: Upper['state'], below: string[] = []): Upper {
  const root = { mode: 0o755, uid: 0, gid: 0 };
  return { id, slot: 'work', stack: 's', below, state, boot: 'b', createdMs: 0, root };
}

function bookOf(generations: Generation[], uppers: Upper[], current?: number) {
  const slot: Slot = {
    name: 'work',
    owner: 0,
    gid: 0,
    ephemeral: false,
    createdMs: 0,
    ...(current === undefined ? {} : { current }),
  };
  const book = new SlotBook();
  book.load({ slots: [slot], generations, uppers });
  return { book, slot };
}

test('the newest stay, and what they stand on', (t) => {
  const { book, slot } = bookOf(
    [1, 2, 3, 4].map((n) => generation(n, `u${n}`)),
    [
      upper('u1', 'sealed'),
      upper('u2', 'sealed'),
      upper('u3', 'sealed', ['u1']),
      upper('u4', 'active'),
    ],
    4,
  );
  const going = dispensable(book, slot, retentionOf(1, 7), day);
  t.deepEqual(going.generations, [1, 2]);
  t.deepEqual(
    going.uppers.map(({ id }) => id),
    ['u2'],
    'u1 lies under u3, which stays',
  );
});

test('what failed stays its days, a trial and the active one always', (t) => {
  const { book, slot } = bookOf(
    [
      generation(1, 'u1', { state: 'failed', endedMs: day }),
      generation(2, 'u2', { state: 'trial' }),
      generation(3, 'u3'),
    ],
    [upper('u1', 'sealed'), upper('u2', 'sealed'), upper('u3', 'active')],
    3,
  );
  t.deepEqual(dispensable(book, slot, retentionOf(0, 7), 7 * day).generations, []);
  t.deepEqual(dispensable(book, slot, retentionOf(0, 7), 9 * day).generations, [1]);
});

test('whatever is given up, everything kept still has all its uppers', (t) => {
  const state = fc.constantFrom<Upper['state']>('active', 'draining', 'sealed', 'gone');
  const world = fc.integer({ min: 1, max: 12 }).chain((count) =>
    fc.record({
      states: fc.array(state, { minLength: count, maxLength: count }),
      below: fc.array(fc.array(fc.nat(count - 1), { maxLength: 3 }), {
        minLength: count,
        maxLength: count,
      }),
      uppers: fc.array(fc.nat(count - 1), { minLength: 1, maxLength: 12 }),
      keep: fc.nat(6),
    }),
  );
  fc.assert(
    fc.property(world, ({ states, below, uppers, keep }) => {
      const ids = states.map((_, n) => `u${n}`);
      const { book, slot } = bookOf(
        uppers.map((n, index) => generation(index + 1, `u${n}`)),
        ids.map((id, n) =>
          upper(
            id,
            states[n]!,
            below[n]!.filter((b) => b !== n).map((b) => `u${b}`),
          ),
        ),
        uppers.length,
      );
      const going = dispensable(book, slot, retentionOf(keep, 7), day);
      const gone = new Set(going.uppers.map(({ id }) => id));
      t.false(going.generations.includes(uppers.length));
      t.true(uppers.length - going.generations.length >= Math.min(keep, uppers.length - 1) + 1);
      for (const { number, upper: id } of book.generations('work')) {
        if (going.generations.includes(number)) continue;
        t.false(gone.has(id));
        for (const under of book.upper(id).below) t.false(gone.has(under));
      }
      for (const { id, state: now, below: under } of book.uppersOf('work'))
        if (now === 'active' || now === 'draining')
          for (const one of [id, ...under]) t.false(gone.has(one));
    }),
  );
});

test('a plain rollback goes on when what was gone back to is collected', (t) => {
  const past = [1, 2, 3, 4].map((n) => generation(n, `u${n}`));
  const back = generation(5, 'u5', { reason: 'rollback', returnsTo: 3 });
  const again = generation(6, 'u6', { reason: 'rollback', returnsTo: 5 });
  const goal = (kept: Generation[]) => {
    const { book, slot } = bookOf(kept, [], kept.at(-1)?.number);
    return before(book, slot).number;
  };
  t.is(goal([...past, back, again]), 2);
  t.is(
    goal([...past.filter(({ number }) => number !== 3), back, again]),
    2,
    'its number still counts',
  );
  const newer = past.filter(({ number }) => number > 3);
  t.is(goal([...newer, back]), 4, 'nothing is left before it');
  t.is(goal([...newer, again]), 4, 'a rollback that is gone counts by its number');
  t.throws(() => goal([back]), {
    message: /went back to generation 3, which has no good generation/,
  });
  // What is kept and has nothing before it leads no way forth.
  t.throws(() => goal([...past.filter(({ number }) => number > 2), back]), {
    message: /has no good generation before it/,
  });
});
