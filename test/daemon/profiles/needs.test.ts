import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { silentLog } from '../../../daemon/changes/log.ts';
import type { GroupUse } from '../../../daemon/kernel/group-use.ts';
import type { Application, Known, Source } from '../../../daemon/profiles/application.ts';
import { byPrecedence } from '../../../daemon/profiles/application.ts';
import { Catalogue } from '../../../daemon/profiles/catalogue.ts';
import { planLaunch } from '../../../daemon/profiles/launch-plan.ts';
import { Layer } from '../../../daemon/profiles/layer.ts';
import { MeasuredNeeds } from '../../../daemon/profiles/measured-needs.ts';
import { Measuring, type MeasuringParts } from '../../../daemon/profiles/measuring.ts';
import { fragmentOf, type Needs, needsWith, noNeeds } from '../../../daemon/profiles/needs.ts';
import { needsLimits, readNeeds, writeNeeds } from '../../../daemon/profiles/needs-rows.ts';
import {
  figuresOf,
  firstSeen,
  type RunFigures,
  seenAgain,
  startMaxMs,
} from '../../../daemon/profiles/run-figures.ts';
import type { RunningApplication } from '../../../daemon/profiles/running.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { temporaryFolder } from '../../support/temp.ts';

// What runs need: from looks at one run, by what several have come to, to what is said of the application.

const MiB = 2 ** 20;

/** A run as it was seen, a look each quarter of a second. */
function seen(looks: readonly GroupUse[], sinceMs = 900) {
  const [first = {}, ...more] = looks;
  let atMs = 1_000;
  let run = firstSeen({ sinceMs, ...first }, atMs);
  for (const use of more) {
    atMs += 250;
    run = seenAgain(run, { sinceMs, ...use }, atMs);
  }
  return run;
}

test('a start lasts until it uses no processor and reads nothing for half a second', (t) => {
  const use = (cpuMs: number, mib: number) => ({ cpuMs, readBytes: mib * MiB, memoryBytes: MiB });
  // Busy, waiting for the disk, resting too shortly, busy again, at rest.
  const looks = [use(0, 1), use(200, 5), use(210, 9), use(220, 9), use(420, 9), use(420, 9)];
  t.deepEqual(figuresOf(seen(looks)), {
    peakBytes: MiB,
    typicalBytes: MiB,
    processors: 0.336,
  });
  t.deepEqual(figuresOf(seen([...looks, use(425, 9)])), {
    peakBytes: MiB,
    typicalBytes: MiB,
    processors: 0.283,
    coldBytes: 9 * MiB,
    startMs: 1_100,
  });
  // What it reads later is none of its start.
  t.like(figuresOf(seen([...looks, use(425, 9), use(425, 90)])), { coldBytes: 9 * MiB });
});

test('what was not seen starting has no start, and what never rests has none either', (t) => {
  const busy = Array.from({ length: 4 * (startMaxMs / 1000) + 8 }, (_, i) => ({
    cpuMs: i * 250,
    readBytes: i,
  }));
  const figures = figuresOf(seen(busy));
  t.is(figures?.startMs, undefined);
  t.is(figures?.processors, 1);
  t.true((figures?.coldBytes ?? 0) >= 4 * (startMaxMs / 1000));
  const calm = Array.from({ length: 8 }, () => ({ cpuMs: 7, readBytes: 7 }));
  t.is(figuresOf(seen(calm))?.startMs, 0 + 100);
  t.deepEqual(figuresOf(seen(calm, -60_000)), { processors: 0 });
  t.is(figuresOf(seen(calm.slice(0, 2))), undefined, 'too little was seen');
  t.deepEqual(figuresOf(seen([{}, {}, {}])), {}, 'what cannot be told is absent');
});

const uses = fc.array(
  fc.record(
    {
      memoryBytes: fc.nat(2 ** 40),
      cpuMs: fc.nat(10 ** 9),
      readBytes: fc.nat(2 ** 40),
      sinceMs: fc.nat(5_000),
    },
    { requiredKeys: [] },
  ),
  { minLength: 3, maxLength: 60 },
);

test('whatever counters do, a run has a fixed size and figures that can be true', (t) => {
  fc.assert(
    fc.property(uses, fc.nat(100_000), (looks, everyMs) => {
      let atMs = 1_000;
      let run = firstSeen(looks[0]!, atMs);
      const { length } = Object.keys(run);
      for (const use of looks.slice(1)) {
        atMs += everyMs + 1;
        run = seenAgain(run, use, atMs);
        if (Object.keys(run).length !== length) return false;
      }
      const figures = figuresOf(run) ?? {};
      const { peakBytes = 0, typicalBytes = 0 } = figures;
      const most = Math.max(0, ...looks.map(({ memoryBytes = 0 }) => memoryBytes));
      return (
        Object.values(figures).every((value) => Number.isFinite(value) && value >= 0) &&
        typicalBytes <= peakBytes &&
        peakBytes <= most
      );
    }),
  );
  t.pass();
});

const runs = (...peaks: number[]): Needs =>
  peaks.reduce(
    (needs, peakBytes, sinceMs) => needsWith(needs, { sinceMs, peakBytes }, sinceMs),
    noNeeds,
  );

test('more runs are surer, never certain; the last eight count, one that goes on counts once', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(10 ** 12), { minLength: 1, maxLength: 40 }), (peaks) => {
      const needs = runs(...peaks);
      const { confidence, values, from } = fragmentOf('x', needs);
      const before = fragmentOf('x', runs(...peaks.slice(1))).confidence;
      return (
        needs.last.length <= 8 &&
        confidence < 1 &&
        (peaks.length === 1 || confidence > before || confidence > 0.9) &&
        from === (peaks.length === 1 ? 'one run' : `${peaks.length} runs`) &&
        values.memory === Math.max(...peaks.slice(-8))
      );
    }),
  );
  const goesOn = needsWith(runs(5), { sinceMs: 0, peakBytes: 9 }, 1);
  t.deepEqual(goesOn, { runs: 1, dateMs: 1, last: [{ sinceMs: 0, peakBytes: 9 }] });
  const figures = (startMs: number) => ({
    startMs,
    typicalBytes: startMs,
    coldBytes: 100 - startMs,
  });
  const three = [3, 1, 2].reduce(
    (needs, one) => needsWith(needs, { sinceMs: one, ...figures(one) }, one),
    noNeeds,
  );
  t.deepEqual(fragmentOf('x', three).values, { typicalMemory: 2, coldRead: 99, startTime: 2 });
});

async function storeOf(t: Parameters<typeof temporaryFolder>[0]) {
  const store = await openStore(join(temporaryFolder(t), 'personad.db'));
  t.teardown(() => store.close());
  return store;
}

test('what was measured is kept, within limits; who has not run for longest is forgotten', async (t) => {
  const store = await storeOf(t);
  const limits = { perOwnerMax: 3, allMax: 5 };
  for (const owner of [1, 2, 3])
    for (let i = 0; i < 4; i += 1)
      await writeNeeds(store, owner, `app${i}`, { ...runs(i), dateMs: owner * 10 + i }, limits);
  t.deepEqual([...(await readNeeds(store, 1)).keys()], []);
  t.deepEqual([...(await readNeeds(store, 2)).keys()], ['app2', 'app3']);
  t.deepEqual([...(await readNeeds(store, 3)).keys()], ['app1', 'app2', 'app3']);
  t.like((await readNeeds(store, 3)).get('app3'), { runs: 1, last: [{ peakBytes: 3 }] });
});

test('a user has what he has measured himself, also after a restart, and no more than is kept', async (t) => {
  const store = await storeOf(t);
  const needs = new MeasuredNeeds(store, () => 7);
  t.is(needs.layer(5), undefined);
  await needs.learn(5, 'paint', { sinceMs: 1, peakBytes: 10 });
  await needs.learn(5, 'paint', { sinceMs: 2, peakBytes: 20 });
  const again = new MeasuredNeeds(store, () => 8);
  await Promise.all([again.load(5), again.load(6)]);
  for (const one of [needs, again])
    t.like(one.layer(5)?.ofId('paint')[0], {
      source: 'measured',
      from: '2 runs',
      confidence: 0.5,
      dateMs: 7,
      values: { memory: 20 },
    });
  t.is(again.layer(6), undefined);
  await Promise.all(
    Array.from({ length: needsLimits.perOwnerMax }, (_, i) =>
      needs.learn(5, `app${i}`, { sinceMs: 3, peakBytes: 1 }),
    ),
  );
  t.deepEqual(needs.layer(5)?.ofId('paint'), []);
  t.is((await readNeeds(store, 5)).size, needsLimits.perOwnerMax);
});

test('how often writes are waited for is the middle of the runs in which it was counted', (t) => {
  const learn = (needs: Needs, run: RunFigures, sinceMs: number) =>
    needsWith(needs, { sinceMs, ...run }, sinceMs);
  const rate = (...all: RunFigures[]) =>
    fragmentOf('x', all.reduce(learn, noNeeds)).values.syncRate;
  t.is(rate({ ranMs: 10_000, writtenBytes: 5 }), undefined);
  t.is(rate({ ranMs: 0, syncs: 5 }), undefined);
  t.is(rate({ ranMs: 10_000, syncs: 0 }), 0);
  t.is(rate({ ranMs: 3_000, syncs: 1 }, { ranMs: 10, peakBytes: 1 }), 0.33);
  t.is(rate({ ranMs: 1, syncs: 1 }, { ranMs: 1_000, syncs: 9 }, { ranMs: 1_000, syncs: 2 }), 9);
});

test('what was measured makes no application known', (t) => {
  const measured = new Layer([fragmentOf('gone', runs(5))], []);
  const catalogue = new Catalogue([new Layer([], [])], { measured });
  t.false(catalogue.has('gone'));
  t.deepEqual(catalogue.ids(), []);
  t.is(catalogue.application('gone').facts.memory?.[0]?.value, 5);
});

const GiB = 2 ** 30;
const paint = (memory: Partial<Record<Source, number>>, confidence = 0.5): Application => {
  const known: Known<number>[] = Object.entries(memory).map(([source, value]) => ({
    ...{ value, source: source as Source, from: source, dateMs: 0 },
    confidence: source === 'measured' ? confidence : 1,
  }));
  const cpu = [{ ...known[0]!, source: 'imported' as const, value: 'high' as const }];
  const executables = [{ ...cpu[0]!, value: ['/usr/bin/paint'] }];
  return { id: 'paint', facts: { memory: known.toSorted(byPrecedence), cpu, executables } };
};

test('memory that was measured is announced after two runs, and never raises what others grant', (t) => {
  const recognised = { by: 'executable' as const, path: '/usr/bin/paint', device: '1', inode: '2' };
  const planned = (...given: Parameters<typeof paint>) => {
    const application = paint(...given);
    const { memoryBytes, weights } = planLaunch({ application, recognised, obstacles: {} });
    return [memoryBytes, weights.memoryLow];
  };
  t.deepEqual(planned({ measured: GiB / 2 }), [GiB / 2, undefined]);
  t.deepEqual(planned({ measured: GiB / 2 }, 0.33), [undefined, undefined]);
  t.deepEqual(planned({ measured: GiB / 2, imported: GiB / 4 }), [GiB / 2, GiB / 4]);
  t.deepEqual(planned({ measured: GiB / 4, imported: GiB / 2 }), [GiB / 4, GiB / 4]);
  t.deepEqual(planned({ admin: GiB / 8, measured: GiB / 4 }), [GiB / 8, GiB / 8]);
  t.deepEqual(planned({ user: GiB, measured: GiB / 4, imported: GiB }), [undefined, undefined]);
});

function ground(
  uses: Record<string, () => GroupUse | undefined>,
  limits = {},
  count: MeasuringParts['count'] = async () => undefined,
) {
  const learnt: (RunFigures & { account: number; app: string })[] = [];
  const looked: string[] = [];
  const clock = { nowMs: 1_000 };
  const parts: MeasuringParts = {
    use(group) {
      looked.push(group);
      return uses[group]?.();
    },
    count,
    learn: async (account, app, { sinceMs: _, ...run }) =>
      void learnt.push({ account, app, ...run }),
    nowMs: () => clock.nowMs,
    log: silentLog,
    limits,
  };
  return { measuring: new Measuring(parts), learnt, looked, clock };
}

const one = (group: string, more: Partial<RunningApplication> = {}): RunningApplication => ({
  ...{ app: 'paint', account: 5, group, profile: 'standard', rule: 'x', reason: 'x', sinceMs: 1 },
  ...{ by: 'launch', recognised: true },
  ...more,
});

test('a run is looked at while it lasts, often only while it starts, and learned from at its end', async (t) => {
  // What runs for long already: no timer is needed.
  const { measuring, learnt, looked, clock } = ground({
    a: () => ({ cpuMs: clock.nowMs, memoryBytes: MiB, readBytes: 0, sinceMs: -60_000 }),
  });
  measuring.look();
  t.deepEqual(looked, [], 'nothing runs');
  measuring.began(one('a'));
  measuring.began(one('b', { recognised: false }));
  t.is(measuring.count, 1, 'what goes by a name is not measured');
  for (let second = 0; second < 40; second += 1) {
    clock.nowMs += 1_000;
    measuring.look();
  }
  // At once, in each of ten seconds, then a tenth of its age later: at 11, 13, 15, 17, 19, 21, 24, 27, 30, 33 and 37.
  t.is(looked.length, 22);
  measuring.ended('a');
  measuring.ended('a');
  measuring.look();
  t.is(measuring.count, 0);
  const figures = { account: 5, app: 'paint', peakBytes: MiB, typicalBytes: MiB, processors: 1 };
  t.deepEqual(learnt, [figures, figures], 'when enough was seen of it, and at its end');
  await measuring.close();
});

test('so many are measured at once, of one user and of all; a run for weeks is learned from', async (t) => {
  const use = () => ({ cpuMs: 0, memoryBytes: MiB });
  const groups = ['a', 'b', 'c', 'd', 'e'];
  const uses = Object.fromEntries(groups.map((group) => [group, use]));
  const { measuring, learnt, looked, clock } = ground(uses, {
    allMax: 3,
    perUserMax: 2,
    perTurnMax: 2,
  });
  for (const group of groups) measuring.began(one(group, { account: group < 'd' ? 5 : 6 }));
  t.is(measuring.count, 3);
  looked.length = 0;
  clock.nowMs += 10_000;
  for (const _ of groups) measuring.look();
  t.deepEqual(looked.toSorted(), ['a', 'b', 'd'], 'each had its turn');
  for (let i = 0; i < 100; i += 1) {
    clock.nowMs += 10_000;
    for (const _ of groups) measuring.look();
  }
  t.true(learnt.length >= 3 && learnt.length <= 6, `${learnt.length}`);
  await measuring.close();
  t.is(measuring.count, 0);
});

const calm = () => ({ cpuMs: 0, memoryBytes: MiB, writtenBytes: 0, sinceMs: -60_000 });
/** Lets what was begun come to its end. */
const settled = () => new Promise(setImmediate);

test('waits for the disk are counted while a run lasts, of so many at once, and each count ends', async (t) => {
  let open = 0;
  const waited = { a: 0, b: 0, c: 0 };
  const uses = { a: calm, b: calm, c: calm };
  const { measuring, learnt, clock } = ground(uses, { countedMax: 2 }, async (group) => {
    open += 1;
    return {
      read: () => waited[group as 'a'],
      close: async () => {
        await settled();
        open -= 1;
      },
    };
  });
  const turns = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      clock.nowMs += 1_000;
      measuring.look();
      await settled();
    }
  };
  for (const group of ['a', 'b', 'c']) measuring.began(one(group, { app: group }));
  await turns(2);
  t.is(open, 2, 'no more than may be');
  waited.a = 40;
  await turns(2);
  waited.a = 41;
  measuring.ended('a');
  await settled();
  await settled();
  t.like(learnt.at(-1), { app: 'a', ranMs: 4_000, syncs: 41 }, 'its last ones, too');
  t.is(open, 1);
  // There is room again; what began without is not counted later.
  measuring.began(one('a', { app: 'again' }));
  await turns(3);
  t.is(open, 2);
  await measuring.close();
  t.is(open, 0);
  t.like(
    learnt.findLast(({ app }) => app === 'again'),
    { syncs: 41 },
  );
  t.false(learnt.some(({ app, syncs }) => app === 'c' && syncs !== undefined));
});

test('a run that is over before its count begins leaves none; a kernel that refuses is asked once', async (t) => {
  let closed = 0;
  const begins = Promise.withResolvers<void>();
  const late = ground({ a: calm }, {}, () =>
    begins.promise.then(() => ({
      read: () => 7,
      close: async () => {
        await settled();
        closed += 1;
      },
    })),
  );
  late.measuring.began(one('a'));
  late.measuring.ended('a');
  begins.resolve();
  await late.measuring.close();
  t.is(closed, 1);
  let asked = 0;
  const refused = ground({ a: calm, b: calm, c: calm }, {}, async () => {
    asked += 1;
    throw Object.assign(new Error('refused'), { code: asked === 1 ? 'EINTR' : 'EACCES' });
  });
  refused.measuring.began(one('a'));
  await settled();
  refused.measuring.began(one('b'));
  await settled();
  t.is(asked, 2, 'what may pass is tried again');
  refused.measuring.began(one('c'));
  for (let i = 0; i < 4; i += 1) {
    refused.clock.nowMs += 1_000;
    refused.measuring.look();
  }
  await refused.measuring.close();
  t.is(asked, 2);
  t.is(refused.learnt.at(-1)?.syncs, undefined);
  t.is(refused.learnt.at(-1)?.peakBytes, MiB, 'the rest is measured all the same');
});
