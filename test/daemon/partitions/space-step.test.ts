import test from 'ava';
import fc from 'fast-check';
import { otherSide, type Side, sides } from '../../../daemon/partitions/observation.ts';
import { findPolicy, policies } from '../../../daemon/partitions/policies/index.ts';
import type { Policy } from '../../../daemon/partitions/policy.ts';
import { policySettings as settings } from '../../../daemon/partitions/policy-settings.ts';
import { type SpaceSeen, totalOf } from '../../../daemon/partitions/space-look.ts';
import {
  type SpaceState,
  type SpaceStep,
  spaceStep,
} from '../../../daemon/partitions/space-step.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const policy = (name: string) => findPolicy(name) as Policy;

/** A volume of so many bytes with so many in use; it can have all of both. */
const volume = (id: string, sizeBytes: number, usedBytes: number, mostBytes = 4096 * GiB) => ({
  ...{ id, sizeBytes, usedBytes, mostBytes },
  leastBytes: Math.max(64 * MiB, usedBytes + sizeBytes / 20),
});

const pair = (user: [number, number], system: [number, number]): SpaceSeen => ({
  user: volume('u', user[0] * GiB, user[1] * GiB),
  system: volume('s', system[0] * GiB, system[1] * GiB),
});

/** The volumes after a move. */
function after(seen: SpaceSeen, { move }: SpaceStep): SpaceSeen {
  if (move === undefined) return seen;
  const changed = (side: Side, bytes: number) => {
    const { id, sizeBytes, usedBytes, mostBytes } = seen[side];
    return volume(id, sizeBytes + bytes, usedBytes, mostBytes);
  };
  return {
    ...seen,
    [move.to]: changed(move.to, move.bytes),
    [move.from]: changed(move.from, -move.bytes),
  };
}

/** Time between two looks, as where nothing is to be seen. */
const everyMs = 5_000;

/** So many looks at the same files, each move carried out; the steps, and how the volumes stand then. */
function live(law: Policy, looks: number, first: SpaceSeen, forget: (look: number) => boolean) {
  let seen = first;
  let state: SpaceState = {};
  const steps: (SpaceStep & { before: SpaceSeen })[] = [];
  for (let look = 0; look < looks; look += 1) {
    if (forget(look)) state = {};
    const step = spaceStep({ policy: law, settings, seen, atMs: look * everyMs, state });
    steps.push({ ...step, before: seen });
    seen = after(seen, step);
    state = step.state;
  }
  return { steps, seen };
}

const never = () => false;
const run = (law: Policy, looks: number, first: SpaceSeen) => live(law, looks, first, never);

/** Any two volumes. */
const pairs = fc
  .tuple(
    ...[fc.integer({ min: 64, max: 4096 }), fc.integer({ min: 64, max: 4096 })],
    ...[fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })],
    ...[fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 16 })],
  )
  .map(([user, system, userUse, systemUse, userLimit, systemLimit]): SpaceSeen => {
    const one = (id: string, mib: number, use: number, times: number) =>
      volume(id, mib * MiB, Math.floor(mib * MiB * use), mib * MiB * times);
    return {
      user: one('u', user, userUse, userLimit),
      system: one('s', system, systemUse, systemLimit),
    };
  });

for (const law of policies) {
  test(`${law.name}: what is set aside stays the same in sum, and bounds and limits hold`, (t) => {
    fc.assert(
      fc.property(pairs, (first) => {
        const total = totalOf(first);
        const { steps, seen } = run(law, 80, first);
        t.is(totalOf(seen), total);
        for (const { move, before, sizes, state } of steps) {
          t.is(sizes.user + sizes.system, total);
          t.deepEqual(JSON.parse(JSON.stringify(state)), state, 'plain data');
          if (move === undefined) continue;
          const [giver, taker] = [before[move.from], before[move.to]];
          t.is(move.from, otherSide(move.to));
          t.is(move.bytes % MiB, 0);
          t.true(move.bytes > 0 && move.bytes <= settings.threshold.step * total);
          t.true(giver.sizeBytes - move.bytes >= giver.leastBytes, 'below what is in use');
          t.true(giver.sizeBytes - move.bytes >= settings.minShare * total);
          t.true(taker.sizeBytes + move.bytes <= taker.mostBytes);
          t.true(taker.sizeBytes + move.bytes <= settings.maxShare * total);
          t.true(giver.usedBytes <= settings.threshold.growAbove * (giver.sizeBytes - move.bytes));
        }
      }),
      { numRuns: 150 },
    );
  });

  test(`${law.name}: with the same files it comes to rest`, (t) => {
    fc.assert(
      fc.property(pairs, (first) => {
        const { steps } = run(law, 120, first);
        const moves = steps.flatMap(({ move }) => move ?? []);
        t.true(moves.length <= 12, `${moves.length} moves`);
        t.true(steps.slice(-40).every(({ move }) => move === undefined));
        // The specification's law gives a step back where a move has left both below 20 %, one of them at its least.
        if (law.name !== 'threshold')
          t.true(new Set(moves.map(({ to }) => to)).size <= 1, 'there and back');
      }),
      { numRuns: 150 },
    );
  });

  test(`${law.name}: a daemon that is started anew at any time comes to the same sizes`, (t) => {
    const starts = fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 6 });
    fc.assert(
      fc.property(pairs, starts, (first, times) => {
        const other = live(law, 120, first, (look) => times.includes(look));
        const { seen } = run(law, 120, first);
        t.deepEqual(other.seen, seen);
      }),
      { numRuns: 100 },
    );
  });

  test(`${law.name}: one look is no evidence, nor is one after a long pause`, (t) => {
    const seen = pair([10, 9.9], [10, 1]);
    const first = spaceStep({ policy: law, settings, seen, atMs: 0, state: {} });
    t.is(first.move, undefined);
    const later = { policy: law, settings, seen, atMs: 3_600_000, state: first.state };
    t.is(spaceStep(later).move, undefined);
  });
}

test('volumes between 20 and 80 % stay as they are, whoever decides', (t) => {
  const shares = fc.double({ min: 0.21, max: 0.79, noNaN: true });
  for (const law of policies)
    fc.assert(
      fc.property(shares, shares, fc.integer({ min: 1, max: 9 }), (user, system, size) => {
        const first = pair([size, size * user], [10 - size, (10 - size) * system]);
        t.true(run(law, 60, first).steps.every(({ move }) => move === undefined));
      }),
      { numRuns: 50 },
    );
});

test('another volume in the place of the one that was full is no evidence', (t) => {
  const seen = pair([10, 9.9], [10, 1]);
  const law = policy('protective');
  const { state } = spaceStep({ policy: law, settings, seen, atMs: 0, state: {} });
  const other = { ...seen, user: { ...seen.user, id: 'another' } };
  t.is(spaceStep({ policy: law, settings, seen: other, atMs: 1000, state }).move, undefined);
  t.deepEqual(spaceStep({ policy: law, settings, seen, atMs: 1000, state }).move, {
    ...{ from: 'system', to: 'user' },
    bytes: 2 * GiB,
  });
});

for (const name of ['threshold', 'protective'])
  for (const full of sides)
    test(`${name}: a full ${full} volume gets ten points of the total at a time, up to 80`, (t) => {
      const [one, other] = [[10, 9.9] as [number, number], [10, 1] as [number, number]];
      const first = full === 'user' ? pair(one, other) : pair(other, one);
      const { steps } = run(policy(name), 60, first);
      const moves = steps.flatMap(({ move }) => move ?? []);
      t.deepEqual(
        moves.map(({ to, bytes }) => [to, bytes]),
        Array.from({ length: name === 'threshold' ? 3 : 1 }, () => [full, 2 * GiB]),
        'protective stops where a tenth of both is free in it',
      );
    });

test('threshold gives away what is hardly used; protective only what is asked for', (t) => {
  const first = pair([10, 1], [10, 5]);
  t.deepEqual(run(policy('threshold'), 2, first).steps[1]?.move, {
    ...{ from: 'user', to: 'system' },
    bytes: 2 * GiB,
  });
  t.true(run(policy('protective'), 60, first).steps.every(({ move }) => move === undefined));
});

test('static moves nothing, however full', (t) => {
  const { steps } = run(policy('static'), 60, pair([10, 10], [10, 0]));
  t.true(steps.every(({ move }) => move === undefined));
});

test('of space no side has more right than the other', (t) => {
  const moves = (seen: SpaceSeen) =>
    run(policy('protective'), 60, seen).steps.flatMap(({ move }) => move ?? []);
  const [full, roomy] = [[10, 9.9] as [number, number], [10, 6] as [number, number]];
  t.like(moves(pair(roomy, full)), [{ from: 'user', to: 'system', bytes: 2 * GiB }]);
  t.like(moves(pair(full, roomy)), [{ from: 'system', to: 'user', bytes: 2 * GiB }]);
});

test('where both are full nobody gives, and it is said', (t) => {
  for (const law of policies.filter(({ name }) => name !== 'static')) {
    const { steps } = run(law, 60, pair([5, 4.95], [15, 13]));
    t.true(steps.every(({ move }) => move === undefined));
  }
  const { steps } = run(policy('threshold'), 3, pair([10, 7.9], [10, 9]));
  t.true(steps[2]!.why.some(({ rule, side }) => rule === 'no-slack' && side === 'user'));
});

test('a move is followed by a rest, the reverse by a longer one', (t) => {
  const law = policy('threshold');
  const moves = run(law, 60, pair([4, 3.9], [16, 1]))
    .steps.map(({ move }, look) => ({ move, look }))
    .filter(({ move }) => move !== undefined);
  t.true(moves.length > 1);
  for (const [index, { look }] of moves.slice(1).entries())
    t.true((look - moves[index]!.look) * everyMs >= settings.protective.coolDownMs);
  const state = run(law, 2, pair([10, 9.9], [10, 1])).steps[1]!.state;
  t.is(state.moved?.to, 'user');
  const turned = pair([12, 1], [8, 7.9]);
  for (const atMs of [everyMs + 1000, everyMs + 20_000, everyMs + 40_000]) {
    const step = spaceStep({
      ...{ policy: law, settings, seen: turned, atMs },
      state: { ...state, before: { ...state.before!, atMs: atMs - 1000 } },
    });
    t.is(step.move, undefined);
    t.true(step.why.some(({ rule }) => rule === 'resting'));
  }
});
