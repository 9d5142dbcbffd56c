import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Log, silentLog } from '../../../daemon/changes/log.ts';
import { type IoSettings, IoShares, ioWishes } from '../../../daemon/partitions/io-shares.ts';
import { parseLeases } from '../../../daemon/partitions/lease.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import type { UnitKnobs } from '../../../daemon/partitions/lease-ground.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { MemoryLoop } from '../../../daemon/partitions/loop.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { lookAtMachine, openGlance } from '../../../daemon/partitions/machine-look.ts';
import { waiting } from '../../../daemon/partitions/observation.ts';
import { findPolicy } from '../../../daemon/partitions/policies/index.ts';
import type { Policy } from '../../../daemon/partitions/policy.ts';
import { Recorder } from '../../../daemon/partitions/recorder.ts';
import { settingsWith } from '../../../daemon/partitions/shares.ts';
import { type CgroupTree, cgroupTree } from './cgroup-tree.ts';

const GiB = 2 ** 30;

/** The loop over a tree of files, on a clock of the test. */
function loopOver(
  t: ExecutionContext,
  tree: CgroupTree,
  manage: boolean,
  weights?: IoSettings,
  units?: UnitKnobs,
  log: Log = silentLog,
) {
  const file = join(tree.folder, 'leases.json');
  const clock = { ms: 1_000_000 };
  const book = LeaseBook.open(leaseFile(file));
  const ground = { ...machineGround(false), ...(units && { units }) };
  const leases = new Leases({ book, ground, boot: 'b', now: () => clock.ms });
  const wallMs = () => clock.ms;
  const { glance, close } = openGlance(tree.files);
  t.teardown(close);
  const block = join(tree.folder, 'block');
  const recorder = new Recorder({
    ...{ store: undefined, folder: tree.folder, block, log: silentLog },
    wallMs,
  });
  const loop = new MemoryLoop(
    {
      places: tree.places,
      leases,
      ...(weights && {
        io: new IoShares({ leases, wishes: () => ioWishes(tree.places, weights, []) }),
      }),
      recorder,
      log,
      nowMs: () => clock.ms,
      wallMs,
      look: (atMs) => lookAtMachine(tree.places, atMs, tree.files),
      glance,
    },
    { policy: findPolicy('protective')!, manage },
  );
  t.teardown(() => loop.stop());
  /** Lets the clock go on by seconds, with a turn after each. */
  const run = async (seconds: number, each: () => void = () => undefined) => {
    for (let second = 0; second < seconds; second += 1) {
      clock.ms += 1000;
      each();
      tree.show();
      await loop.tick();
    }
  };
  return { loop, leases, recorder, file, clock, run };
}

/** The user side waits, and what it lacked comes back. */
const needy = (tree: CgroupTree) => () => {
  tree.sides.user.waitedUs += 300_000;
  tree.sides.user.refaults += 20_000;
};

test('observing writes nothing, and says what it would', async (t) => {
  const tree = cgroupTree(t);
  const { loop, file, run } = loopOver(t, tree, false);
  await run(5, needy(tree));
  t.true(loop.decision!.writes.length > 0);
  t.true(loop.decision!.writes.every(({ state }) => state === 'only-observed'));
  t.is(loop.moves.length, 0);
  t.is(tree.knob('user', 'memory.low'), '0');
  t.is(tree.knob('system', 'memory.high'), 'max');
  t.false(existsSync(file));
});

test('managing protects both sides, limits the one that can give, and gives all back', async (t) => {
  const tree = cgroupTree(t);
  tree.sides.system.currentBytes = 12 * GiB;
  tree.sides.user.currentBytes = 3 * GiB;
  tree.availableBytes = GiB / 2;
  const { loop, file, run } = loopOver(t, tree, true);
  await run(1);
  t.true(Number(tree.knob('user', 'memory.low')) > 0);
  t.true(Number(tree.knob('system', 'memory.low')) > 0);
  await run(10, needy(tree));
  t.true(Number(tree.knob('system', 'memory.high')) > 0, tree.knob('system', 'memory.high'));
  t.is(tree.knob('user', 'memory.high'), 'max');
  t.deepEqual(
    parseLeases(readFileSync(file, 'utf8'))
      .map(({ old }) => old)
      .sort(),
    ['0', '0', 'max'],
  );
  t.true(loop.moves.length > 0 && loop.moves.at(-1)!.why.length > 0);
  t.deepEqual(new Set((await loop.stop()).map(({ state }) => state)), new Set(['restored']));
  for (const side of ['user', 'system'] as const)
    t.deepEqual([tree.knob(side, 'memory.low'), tree.knob(side, 'memory.high')], ['0', 'max']);
  t.false(existsSync(file));
});

test('the parts that a person sets hold from the next turn on, whatever was before', async (t) => {
  const tree = cgroupTree(t);
  const { loop, run } = loopOver(t, tree, true);
  await run(3, needy(tree));
  const shares = { user: 60, least: 20, most: 80, grow: 80, shrink: 20, step: 10 };
  await loop.choose({ policy: findPolicy('static')!, settings: settingsWith(shares) });
  await run(1);
  const highs = () => (['user', 'system'] as const).map((side) => tree.knob(side, 'memory.high'));
  const page = 4096;
  const part = (share: number) => Math.floor((share * 16 * GiB) / page) * page;
  t.deepEqual(highs().map(Number), [part(0.6), part(0.4)]);
  await loop.choose({ settings: settingsWith({ ...shares, user: 30 }) });
  await run(1);
  t.deepEqual(highs().map(Number), [part(0.3), part(0.7)]);
  await loop.choose({ manage: false });
  t.deepEqual(highs(), ['max', 'max']);
});

test('a knob that others have set, before or since, is left alone for a while', async (t) => {
  const tree = cgroupTree(t);
  tree.set('system', 'memory.low', '12288');
  const { loop, run, clock } = loopOver(t, tree, true);
  await run(2);
  t.is(tree.knob('system', 'memory.low'), '12288');
  t.like(loop.theirs, [{ side: 'system', knob: 'memory.low', value: 12_288 }]);
  tree.set('user', 'memory.low', '4096');
  tree.availableBytes -= GiB;
  await run(12);
  t.is(tree.knob('user', 'memory.low'), '4096');
  // They let go of it: it stays theirs, so that two writers do not chase each other.
  tree.set('user', 'memory.low', '0');
  await run(30);
  t.is(tree.knob('user', 'memory.low'), '0');
  clock.ms += 11 * 60_000;
  await run(45);
  t.true(Number(tree.knob('user', 'memory.low')) > 0);
  await loop.stop();
  t.deepEqual([tree.knob('user', 'memory.low'), tree.knob('system', 'memory.low')], ['0', '12288']);
});

test("a knob that has its old value, and whose lease cannot end yet, is nobody else's", async (t) => {
  const tree = cgroupTree(t);
  let answers = true;
  const units: UnitKnobs = {
    find: (group) => group,
    kept: () => undefined,
    async set() {
      if (!answers) throw new Error('systemctl was ended after 4000 ms');
    },
    forget: () => undefined,
  };
  const warned: string[] = [];
  const log: Log = { ...silentLog, warn: (_, what) => warned.push(what) };
  const { loop, leases, run } = loopOver(t, tree, true, undefined, units, log);
  const protecting = (lowBytes: number): Policy => ({
    name: 'test',
    summary: 'protects the user side',
    decide: () => ({
      state: undefined,
      goals: { user: { lowBytes }, system: { lowBytes: 0 } },
      why: [],
    }),
  });
  const low = () => tree.knob('user', 'memory.low');
  await loop.choose({ policy: protecting(GiB) });
  await run(1);
  t.is(low(), String(GiB));
  answers = false;
  await loop.choose({ policy: protecting(0) });
  await run(1);
  t.deepEqual([low(), leases.all().length, warned], ['0', 1, []]);
  await loop.choose({ policy: protecting(2 * GiB) });
  await run(1);
  t.deepEqual([loop.theirs, low()], [[], String(2 * GiB)]);
  // Neither old nor ours.
  tree.set('user', 'memory.low', '12288');
  await loop.choose({ policy: protecting(GiB) });
  await run(1);
  t.like(loop.theirs, [{ side: 'user', knob: 'memory.low', value: 12_288 }]);
  answers = true;
});

test('nothing is turned when the daemon itself is inside a side', async (t) => {
  const tree = cgroupTree(t);
  tree.places.own = '/user.slice/user-0.slice/session-1.scope';
  const { loop, run } = loopOver(t, tree, true);
  await run(3, needy(tree));
  t.false(loop.manages);
  t.regex(loop.obstacle!, /the daemon itself runs in user\.slice/);
  t.is(tree.knob('user', 'memory.low'), '0');
});

test('a side that vanishes is no side; the other one goes on', async (t) => {
  const tree = cgroupTree(t);
  const { loop, leases, clock } = loopOver(t, tree, true);
  await loop.tick();
  t.is(leases.all().length, 2);
  rmSync(join(tree.places.memory!.root, 'user.slice'), { recursive: true });
  clock.ms += 11_000;
  await loop.tick();
  t.deepEqual(Object.keys(loop.last!.sides), ['system']);
  t.deepEqual(
    leases.all().map(({ group }) => group),
    ['system.slice'],
  );
});

test('the way back to observing gives everything back at once', async (t) => {
  const tree = cgroupTree(t);
  const { loop, run } = loopOver(t, tree, true);
  await run(1);
  t.true(Number(tree.knob('user', 'memory.low')) > 0);
  t.is((await loop.choose({ manage: false })).length, 2);
  t.is(tree.knob('user', 'memory.low'), '0');
  await run(12);
  t.is(tree.knob('user', 'memory.low'), '0');
});

test('what could not be given back is tried again, though nothing is managed any more', async (t) => {
  const tree = cgroupTree(t);
  let answers = true;
  const units: UnitKnobs = {
    find: (group) => group,
    kept: () => undefined,
    async set() {
      if (!answers) throw new Error('systemctl was ended after 4000 ms');
    },
    forget: () => undefined,
  };
  const { loop, leases, run } = loopOver(t, tree, true, undefined, units);
  await run(10, needy(tree));
  t.true(leases.all().length > 0);
  answers = false;
  const returned = await loop.choose({ manage: false });
  t.true(returned.some(({ state }) => state === 'failed'));
  await run(5);
  t.true(leases.all().length > 0);
  answers = true;
  await run(10);
  t.deepEqual(leases.all(), []);
});

test('that a knob cannot be given back is told once, not at each look', async (t) => {
  const tree = cgroupTree(t);
  const kept = new Map<string, string>();
  let answers = true;
  const units: UnitKnobs = {
    find: (group) => group,
    kept: (unit, knob) => kept.get(`${unit}/${knob}`),
    async set(unit, knob, value) {
      if (!answers) throw new Error('systemctl was ended after 4000 ms');
      kept.set(`${unit}/${knob}`, value);
    },
    forget: (unit, knob) => kept.delete(`${unit}/${knob}`),
  };
  const told: string[] = [];
  const log: Log = {
    ...silentLog,
    error: ({ group, knob }) => told.push(`${group}/${knob}`),
  };
  const { loop, leases, run } = loopOver(t, tree, true, undefined, units, log);
  await run(10, needy(tree));
  const ours = leases.all().map(({ group, knob }) => `${group}/${knob}`);
  t.true(ours.includes('user.slice/memory.low') && ours.length > 1);
  answers = false;
  tree.set('user', 'memory.low', '12288');
  await run(5, needy(tree));
  t.deepEqual(told, ['user.slice/memory.low'], 'managed, and looked at five times');
  await loop.choose({ manage: false });
  await run(30);
  t.deepEqual(told.toSorted(), ours.toSorted());
  answers = true;
  await run(10);
  t.deepEqual(leases.all(), []);
});

test('weights of disks are set while memory is managed, and only then', async (t) => {
  const tree = cgroupTree(t);
  tree.places.io = { root: tree.places.memory!.root };
  for (const side of ['user', 'system'] as const) tree.set(side, 'io.weight', 'default 100');
  const weights = { weights: { user: 200, system: 0 }, cost: false };
  const { loop, leases, run } = loopOver(t, tree, false, weights);
  await run(2);
  t.is(tree.knob('user', 'io.weight'), 'default 100');
  await loop.choose({ manage: true });
  await run(2);
  t.is(tree.knob('user', 'io.weight'), '200');
  t.is(tree.knob('system', 'io.weight'), 'default 100');
  await loop.choose({ manage: false });
  t.is(tree.knob('user', 'io.weight'), '100');
  await loop.choose({ manage: true });
  await run(2);
  t.is(tree.knob('user', 'io.weight'), '200', 'and again');
  await loop.stop();
  t.is(tree.knob('user', 'io.weight'), '100');
  t.deepEqual(leases.all(), []);
});

test('a machine with nothing to see is looked at every ten seconds, one that waits every second', async (t) => {
  const tree = cgroupTree(t);
  const { loop, run } = loopOver(t, tree, false);
  await run(60);
  t.is(loop.looks, 6);
  await run(5, needy(tree));
  t.is(loop.looks, 11);
  // What began after a quiet time is not spread over it.
  await run(9);
  await run(1, needy(tree));
  const [waits] = loop.decision!.why;
  t.regex(`${waits?.text}`, /30 %/);
});

test('whoever asks sees disks as they are now, and how the sides wait for them', async (t) => {
  const tree = cgroupTree(t);
  const { loop, recorder, clock, run } = loopOver(t, tree, false);
  await run(9);
  const firstMs = clock.ms - 8000;
  t.deepEqual([loop.last!.atMs, recorder.disks!.atMs], [firstMs, firstMs]);
  tree.availableBytes -= GiB;
  tree.sides.user.ioWaitedUs += 900_000;
  await run(1);
  t.deepEqual([loop.last!.atMs, recorder.disks!.atMs], [clock.ms, firstMs]);
  t.is(waiting(loop.before, loop.last!, 'user', 'ioPressure')?.some, 0.1);
  t.is(waiting(loop.before, loop.last!, 'system', 'ioPressure')?.some, 0);
  clock.ms += 100;
  await loop.lookAgain(500);
  t.is(recorder.disks!.atMs, clock.ms);
  const { looks } = loop;
  clock.ms += 100;
  await loop.lookAgain(500);
  t.is(loop.looks, looks, 'both are fresh');
});

test('a choice in the middle of turns leaves nothing behind', async (t) => {
  const tree = cgroupTree(t);
  const { loop, leases, clock } = loopOver(t, tree, true);
  for (let round = 0; round < 20; round += 1) {
    clock.ms += 11_000;
    const turns = [loop.tick(), loop.tick()];
    await Promise.all([loop.choose({ manage: false }), ...turns, loop.tick()]);
    t.deepEqual(leases.all(), []);
    t.is(tree.knob('user', 'memory.low'), '0');
    await loop.choose({ manage: true });
    await loop.tick();
    t.is(leases.all().length, 2);
  }
});

test('an announced launch is handed to the policy until it expires', async (t) => {
  const tree = cgroupTree(t);
  const { loop, run, clock } = loopOver(t, tree, false);
  const seen: number[] = [];
  const policy = findPolicy('protective')!;
  await loop.choose({
    policy: {
      ...policy,
      decide(input, state) {
        seen.push(input.hints.length);
        return policy.decide(input, state);
      },
    },
  });
  const hint = { type: 'editor', side: 'user' as const, bytes: GiB };
  loop.announce({ ...hint, expiresAtMs: clock.ms + 30_000 });
  loop.announce({ ...hint, bytes: 99 * GiB, expiresAtMs: clock.ms + 30_000 });
  for (let i = 0; i < 4; i += 1) {
    await loop.lookAgain(0);
    await run(10);
  }
  t.is(seen[0], 1, 'what cannot be true is passed over');
  t.is(seen.at(-1), 0);
});
