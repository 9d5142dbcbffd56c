import test from 'ava';
import fc from 'fast-check';
import { hintLimits, liveHints } from '../../../daemon/partitions/hints.ts';
import type { KnobWrite } from '../../../daemon/partitions/knobs.ts';
import { type Observation, type Side, sides } from '../../../daemon/partitions/observation.ts';
import { policies, references } from '../../../daemon/partitions/policies/index.ts';
import type { Hint, Policy } from '../../../daemon/partitions/policy.ts';
import { policySettings as settings } from '../../../daemon/partitions/policy-settings.ts';
import { type StepState, step } from '../../../daemon/partitions/step.ts';
import { GiB, lives, look } from './looks.ts';

const all = [...policies, ...references];
const protective = policies[0] as Policy;

const turn = (policy: Policy, now: Observation, state?: StepState) =>
  step({ policy, settings, now, hints: [], state });

/** The look with the knobs as these writes leave them. */
function applied(now: Observation, writes: readonly KnobWrite[]): Observation {
  const after = structuredClone(now);
  for (const { side, knob, value } of writes) {
    const seen = after.sides[side];
    if (seen) seen[knob === 'memory.low' ? 'low' : 'high'] = value;
  }
  return after;
}

for (const policy of all) {
  test(`${policy.name}: bounds hold, whatever happens`, (t) => {
    fc.assert(
      fc.property(lives, (life) => {
        let state: StepState | undefined;
        for (const now of life) {
          const { goals, ...next } = turn(policy, now, state);
          state = next.state;
          const total = now.totalBytes;
          const lows = sides.map((side) => goals[side].lowBytes);
          if (lows.some((low) => !(low >= 0 && low <= settings.maxShare * total + 1))) return false;
          const sum = lows.reduce((one, other) => one + other, 0);
          if (sum > settings.guard.protectedShare * total + 1) return false;
          for (const side of sides) {
            const { highBytes } = goals[side];
            if (highBytes === undefined) continue;
            if (!now.sides[side]) return false;
            if (highBytes < settings.minShare * total || highBytes >= total) return false;
            if (now.swapFreeBytes < settings.guard.swapFreeBytes) return false;
          }
        }
        return true;
      }),
      { numRuns: 60 },
    );
    t.pass();
  });

  test(`${policy.name}: the same look gives the same decision, and what was written is not written again`, (t) => {
    fc.assert(
      fc.property(lives, (life) => {
        let state: StepState | undefined;
        for (const now of life) {
          const one = turn(policy, now, state);
          const other = turn(policy, now, state);
          if (JSON.stringify(one) !== JSON.stringify(other)) return false;
          const again = { ...one.state, before: undefined } as unknown as StepState;
          const after = applied(now, one.writes);
          if (
            turn(
              { ...policy, decide: () => ({ state: null, goals: one.goals, why: [] }) },
              after,
              again,
            ).writes.length > 0
          )
            return false;
          state = one.state;
        }
        return true;
      }),
      { numRuns: 40 },
    );
    t.pass();
  });

  test(`${policy.name}: its state is plain data`, (t) => {
    const first = turn(policy, look(0));
    const second = turn(policy, look(1000), first.state);
    const revived = JSON.parse(JSON.stringify(first.state)) as StepState;
    t.deepEqual(turn(policy, look(1000), revived).goals, second.goals);
  });
}

test('protective does nothing without evidence', (t) => {
  let { state, goals } = turn(protective, look(0));
  const first = goals;
  for (let second = 1; second < 200; second++) {
    const use = { currentBytes: (second % 16) * GiB };
    ({ state, goals } = turn(protective, look(second * 1000, use, use), state));
    t.deepEqual(goals, first);
  }
});

/** Looks at a machine whose user side keeps losing working set. */
const hungry = (second: number, has = 10) =>
  look(
    second * 1000,
    {
      currentBytes: has * GiB,
      activations: second * 20_000,
      refaults: second * 20_000,
      pressure: { someUs: second * 500_000, fullUs: 0 },
    },
    { currentBytes: (16 - has) * GiB },
  );

test('protective moves protection to the side that waits, and never limits the taker', (t) => {
  let { state, goals } = turn(protective, hungry(0));
  const start = goals;
  for (let second = 1; second < 10; second++) {
    ({ state, goals } = turn(protective, hungry(second), state));
    t.is(goals.user.highBytes, undefined);
  }
  t.true(goals.user.lowBytes > start.user.lowBytes);
  t.true(goals.system.lowBytes < start.system.lowBytes);
});

test('the move comes with the first look that shows need', (t) => {
  const first = turn(protective, hungry(0));
  const second = turn(protective, hungry(1), first.state);
  t.true(second.writes.some(({ side, knob }) => side === 'user' && knob === 'memory.low'));
});

test('the giver is limited only when protection was not heard, and no longer than it can bear', (t) => {
  // Covered by its protection, and still losing without growing.
  const unheard = (second: number, systemWaits = 0, availableBytes = GiB / 4) =>
    look(
      second * 1000,
      {
        currentBytes: 6 * GiB,
        activations: second * 20_000,
        pressure: { someUs: second * 500_000, fullUs: 0 },
      },
      {
        currentBytes: 9.5 * GiB,
        activations: systemWaits * 2000,
        pressure: { someUs: systemWaits * 300_000, fullUs: 0 },
      },
      { availableBytes },
    );
  let one = turn(protective, unheard(0));
  for (let at = 1; at < 60; at++) {
    one = turn(protective, unheard(at, 0, 2 * GiB), one.state);
    t.is(one.goals.system.highBytes, undefined, 'nobody keeps what is there for the asking');
  }
  one = turn(protective, unheard(0));
  let second = 1;
  for (; one.goals.system.highBytes === undefined && second < 60; second++) {
    one = turn(protective, unheard(second), one.state);
    t.is(one.goals.user.highBytes, undefined);
  }
  t.true(second > settings.protective.limitAfter, 'not at the first look');
  t.true((one.goals.system.highBytes ?? 0) >= settings.minShare * 16 * GiB);
  t.true((one.goals.system.highBytes ?? 0) < 9.5 * GiB);
  one = turn(protective, unheard(second, 1), one.state);
  t.is(one.goals.system.highBytes, undefined, 'it waits: the limit goes at once');
});

test('what was lent comes back to the side that misses more of what it has, though less in all', (t) => {
  let one = turn(protective, hungry(0, 15));
  for (let second = 1; second < 120; second++)
    one = turn(protective, hungry(second, 15), one.state);
  const lent = one.goals.system.lowBytes;
  t.true(lent < settings.minShare * settings.guard.protectedShare * 16 * GiB, 'it was lent');
  const both = (second: number) => {
    const now = hungry(second, 14);
    const { user, system } = now.sides;
    const pages = { user: second * 40_000, system: (second - 119) * 25_000 };
    const pressure = { someUs: (second - 119) * 300_000, fullUs: 0 };
    now.sides.user = { ...user!, activations: pages.user, refaults: pages.user };
    now.sides.system = {
      ...system!,
      activations: pages.system,
      refaults: pages.system,
      pressure,
    };
    return now;
  };
  for (let second = 120; second < 900; second++) one = turn(protective, both(second), one.state);
  t.true(one.goals.system.lowBytes > lent);
});

/** The system's side is after more memory than there is; the user's has so much, and lacks what it is said to. */
const hogged = (second: number, has: number, missed = 0) => {
  const lost = (pages: number, share: number) => ({
    activations: second * pages,
    refaults: second * pages,
    pressure: { someUs: second * share * 1e6, fullUs: 0 },
  });
  const user = { currentBytes: has * GiB, ...lost(missed, missed > 0 ? 0.1 : 0) };
  return look(second * 1000, user, { currentBytes: (15.5 - has) * GiB, ...lost(200_000, 0.9) });
};

test('a program of the system that never has enough takes nothing of what the user has within its share', (t) => {
  const share = settings.protective.userPart * settings.guard.protectedShare * 16 * GiB;
  for (const has of [5, 7, 10]) {
    let { state, goals } = turn(protective, hogged(0, has));
    for (let second = 1; second < 300; second++) {
      ({ state, goals } = turn(protective, hogged(second, has), state));
      t.true(goals.user.lowBytes >= Math.min(has * GiB, share) - 1, `${has} GiB, ${second} s`);
    }
  }
});

test("the user's side gets its share back though the other lacks more, and no more than that", (t) => {
  let { state, goals } = turn(protective, hogged(0, 1));
  for (let second = 1; second < 10; second++)
    ({ state, goals } = turn(protective, hogged(second, 1), state));
  const lent = goals.user.lowBytes;
  t.true(lent < 2 * GiB, 'it was lent while nobody used it');
  for (let second = 10; second < 300; second++)
    ({ state, goals } = turn(protective, hogged(second, 4, 2000), state));
  t.true(goals.user.lowBytes >= 4 * GiB);
  const share = settings.protective.userPart * settings.guard.protectedShare * 16 * GiB;
  t.true(goals.user.lowBytes <= share + 1);
});

test('what is protected after a move leaves something to take, whatever others have', (t) => {
  // The kernel and a third group have 3 GiB.
  const full = (second: number) => {
    const now = hogged(second, 5);
    now.sides.system!.currentBytes = 7.5 * GiB;
    return { ...now, availableBytes: GiB / 2 };
  };
  const first = turn(protective, full(0));
  const { goals } = turn(protective, full(1), first.state);
  t.true(goals.user.lowBytes >= 5 * GiB);
  t.true(goals.user.lowBytes + goals.system.lowBytes < 12 * GiB);
});

test('a restart at any point comes to the same shares', (t) => {
  const settle = (restartAt: number) => {
    let state: StepState | undefined;
    let goals = turn(protective, hungry(0)).goals;
    for (let second = 0; second < 400; second++) {
      if (second === restartAt) state = undefined;
      ({ state, goals } = turn(protective, hungry(second), state));
    }
    return goals;
  };
  const whole = settle(-1);
  for (const restartAt of [1, 5, 30, 100]) t.deepEqual(settle(restartAt), whole);
});

test('after a gap limits go and nothing is decided for a while', (t) => {
  const limited = policies.find(({ name }) => name === 'static') as Policy;
  const before = turn(limited, look(0));
  t.not(before.goals.user.highBytes, undefined);
  const woken = turn(limited, look(600_000), before.state);
  t.is(woken.goals.user.highBytes, undefined);
  t.is(woken.why[0]?.rule, 'gap');
  const later = turn(limited, look(615_000), woken.state);
  t.is(later.why[0]?.rule, 'hold');
  const settled = turn(limited, look(631_000), later.state);
  t.not(settled.goals.user.highBytes, undefined);
});

test('more or less memory in the machine is a gap, too', (t) => {
  const before = turn(protective, look(0));
  const after = turn(protective, look(1000, {}, {}, { totalBytes: 24 * GiB }), before.state);
  t.is(after.why[0]?.rule, 'memory-changed');
});

test('a limit that stalls its side goes, and stays away', (t) => {
  const limited = policies.find(({ name }) => name === 'static') as Policy;
  const stuck = (second: number) =>
    look(second * 1000, {
      currentBytes: 12 * GiB,
      high: 8 * GiB,
      highEvents: second * 1000,
    });
  let one = turn(limited, stuck(0));
  for (let second = 1; second <= 12; second++) one = turn(limited, stuck(second), one.state);
  t.is(one.goals.user.highBytes, undefined);
  one = turn(limited, look(13_000), one.state);
  t.is(one.goals.user.highBytes, undefined, 'it rests');
});

test('without free swap no policy limits', (t) => {
  for (const policy of all) {
    let state: StepState | undefined;
    for (let second = 0; second < 30; second++) {
      const now = { ...hungry(second), availableBytes: GiB / 8, swapFreeBytes: 0 };
      const one = turn(policy, now, state);
      state = one.state;
      for (const side of sides) t.is(one.goals[side].highBytes, undefined, policy.name);
    }
  }
});

test('room is given before it is taken', (t) => {
  const fixed = policies.find(({ name }) => name === 'static') as Policy;
  const now = look(0, { high: 4 * GiB }, { high: 12 * GiB });
  const order = turn(fixed, now).writes.map(({ side, knob }) => `${side} ${knob}`);
  t.is(order[0], 'user memory.high');
  t.is(order.at(-1), 'system memory.high');
});

/** A launch of the user's side, announced for the next half minute. */
const launch = (more: Partial<Hint> = {}): Hint => ({
  type: 'browser',
  side: 'user',
  bytes: 3 * GiB,
  expiresAtMs: 40_000,
  ...more,
});

/** The turn of a side that lacks memory, with these hints, after looks without need. */
function hungryTurn(hints: readonly Hint[], at = 10) {
  const state = turn(protective, hungry(at)).state;
  return step({ policy: protective, settings, now: hungry(at + 1), hints, state });
}

test('a launch makes the move of a side that needs memory greater, until it expires', (t) => {
  const without = hungryTurn([]);
  const announced = hungryTurn([launch()]);
  t.true(announced.goals.user.lowBytes > without.goals.user.lowBytes);
  t.true(announced.goals.system.lowBytes < without.goals.system.lowBytes);
  t.regex(announced.why.find(({ rule }) => rule === 'hint')?.text ?? '', /browser/);
  t.deepEqual(hungryTurn([launch()], 40).goals, without.goals, 'expired');
  t.deepEqual(hungryTurn([launch({ side: 'system' })]).goals, without.goals, "the other side's");
});

test('a launch alone is no evidence: nothing moves', (t) => {
  const state = turn(protective, look(0)).state;
  const full = look(
    1000,
    { currentBytes: 9 * GiB },
    { currentBytes: 6 * GiB },
    { availableBytes: GiB },
  );
  const quiet = step({ policy: protective, settings, now: full, hints: [], state });
  const announced = step({ policy: protective, settings, now: full, hints: [launch()], state });
  t.deepEqual(announced.goals, quiet.goals);
  t.is(announced.why[0]?.rule, 'at-ease');
});

test('what has come of a launch is not expected again', (t) => {
  let state = turn(protective, hungry(10)).state;
  state = step({
    policy: protective,
    settings,
    now: look(10_500),
    hints: [launch()],
    state,
  }).state;
  const came = (hints: readonly Hint[]) =>
    step({ policy: protective, settings, now: hungry(11, 12), hints, state }).goals;
  t.deepEqual(came([launch()]), came([]));
});

test('hints out of their limits are none, and not more than some are taken', (t) => {
  const now = look(0);
  const bad: Partial<Hint>[] = [
    { bytes: -1 },
    { bytes: 0 },
    { bytes: Number.NaN },
    { bytes: Number.POSITIVE_INFINITY },
    { bytes: 2 ** 60 },
    { side: 'other' as Side },
    { expiresAtMs: 0 },
    { expiresAtMs: Number.NaN },
    { expiresAtMs: Number.POSITIVE_INFINITY },
    { expiresAtMs: hintLimits.lifeMs + 1 },
    { type: '' },
    { type: 'a\u001b[31m' },
    { type: 'a'.repeat(65) },
  ];
  t.deepEqual(liveHints(bad.map(launch), now), []);
  const many = Array.from({ length: 10_000 }, (_, index) => launch({ bytes: index + 1 }));
  const taken = liveHints([launch({ side: 'system' }), ...many], now);
  t.is(taken.length, hintLimits.count + 1);
  t.is(taken[hintLimits.count - 1]?.bytes, 10_000);
});

test('whatever is announced, bounds hold, and without need nothing moves', (t) => {
  const most = settings.protective.hintMost * 16 * GiB * settings.protective.hintPart;
  const anyHint = fc.record({
    type: fc.constantFrom('browser', '', '\u0000'),
    side: fc.constantFrom<Side>('user', 'system', 'x' as Side),
    bytes: fc.oneof(fc.double(), fc.integer({ min: 0, max: 16 * GiB })),
    expiresAtMs: fc.oneof(fc.double(), fc.integer({ min: -1000, max: 400_000 })),
  });
  const quiet = turn(protective, look(1000), turn(protective, look(0)).state).goals;
  fc.assert(
    fc.property(fc.array(anyHint, { maxLength: 200 }), (hints) => {
      const state = turn(protective, look(0)).state;
      const calm = step({ policy: protective, settings, now: look(1000), hints, state });
      if (JSON.stringify(calm.goals) !== JSON.stringify(quiet)) return false;
      const { goals, state: next } = hungryTurn(hints);
      if (JSON.stringify(JSON.parse(JSON.stringify(next))) !== JSON.stringify(next)) return false;
      const gained = goals.user.lowBytes - hungryTurn([]).goals.user.lowBytes;
      return gained >= -1 && gained <= most && goals.system.lowBytes >= 0;
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('a launch that never comes costs nothing that the other side needs', (t) => {
  let one = hungryTurn([launch({ expiresAtMs: 300_000 })]);
  const lent = one.goals.system.lowBytes;
  // From now on the other side lacks memory, and the one that announced does not.
  const turned = (second: number) =>
    look(
      second * 1000,
      { currentBytes: 10 * GiB, activations: 220_000, pressure: { someUs: 5_500_000, fullUs: 0 } },
      {
        currentBytes: 6 * GiB,
        activations: (second - 11) * 20_000,
        pressure: { someUs: (second - 11) * 500_000, fullUs: 0 },
      },
    );
  const hints = [launch({ expiresAtMs: 300_000 })];
  for (let second = 12; second < 120; second++)
    one = step({ policy: protective, settings, now: turned(second), hints, state: one.state });
  t.true(one.goals.system.lowBytes > lent);
});
