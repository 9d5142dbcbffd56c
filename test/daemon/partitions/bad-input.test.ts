import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { silentLog } from '../../../daemon/changes/log.ts';
import { createGroup, readKnob, removeGroup } from '../../../daemon/kernel/cgroups.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { MemoryLoop } from '../../../daemon/partitions/loop.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { lookAtMachine, openGlance } from '../../../daemon/partitions/machine-look.ts';
import { sides, waiting } from '../../../daemon/partitions/observation.ts';
import { findPolicy, policies } from '../../../daemon/partitions/policies/index.ts';
import { policySettings as settings } from '../../../daemon/partitions/policy-settings.ts';
import { hostWaiting, Recorder } from '../../../daemon/partitions/recorder.ts';
import { type StepState, step } from '../../../daemon/partitions/step.ts';
import { memory1Needs, memoryHierarchy, memoryNeeds } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { type CgroupTree, cgroupTree } from './cgroup-tree.ts';
import { GiB, lives, look } from './looks.ts';

/** The loop over a tree of files, managing, on a clock of the test. */
function managing(t: ExecutionContext, tree: CgroupTree, policy = 'static') {
  const clock = { ms: 1_000_000 };
  const wallMs = () => clock.ms;
  const book = LeaseBook.open(leaseFile(join(tree.folder, 'leases.json')));
  const leases = new Leases({ book, ground: machineGround(false), boot: 'b', now: wallMs });
  const { glance, close } = openGlance(tree.files);
  t.teardown(close);
  const recorder = new Recorder({ store: undefined, folder: tree.folder, log: silentLog, wallMs });
  const loop = new MemoryLoop(
    {
      places: tree.places,
      leases,
      recorder,
      log: silentLog,
      nowMs: wallMs,
      wallMs,
      look: (atMs) => lookAtMachine(tree.places, atMs, tree.files),
      glance,
    },
    { policy: findPolicy(policy)!, manage: true },
  );
  t.teardown(() => loop.stop());
  const turn = async (ms = 1000) => {
    clock.ms += ms;
    tree.show();
    await loop.tick();
  };
  return { loop, leases, turn };
}

test('a knob that cannot be written is refused, leaves no lease, and stops nothing else', async (t) => {
  const tree = cgroupTree(t);
  const file = join(tree.places.memory!.root, 'user.slice/memory.high');
  // It reads as before; nothing is ever written through a link.
  renameSync(file, join(tree.folder, 'elsewhere'));
  symlinkSync(join(tree.folder, 'elsewhere'), file);
  const { loop, leases, turn } = managing(t, tree);
  await turn();
  const user = loop.decision!.writes.find(
    ({ side, knob }) => side === 'user' && knob === 'memory.high',
  );
  t.is(user?.state, 'refused');
  t.regex(user?.detail ?? '', /memory\.high did not take/);
  t.is(tree.knob('user', 'memory.high'), 'max');
  t.true(Number(tree.knob('system', 'memory.high')) > 0, 'the other side has its limit');
  t.deepEqual(
    leases.all().filter(({ group, knob }) => group === 'user.slice' && knob === 'memory.high'),
    [],
  );
});

test('after the machine has slept limits are off, and on again when it has settled', async (t) => {
  const tree = cgroupTree(t);
  const { loop, turn } = managing(t, tree);
  await turn();
  const limit = tree.knob('user', 'memory.high');
  t.true(Number(limit) > 0);
  await turn(8 * 3600 * 1000);
  t.is(loop.decision!.why[0]?.rule, 'gap');
  t.is(tree.knob('user', 'memory.high'), 'max');
  await turn(settings.guard.resumeHoldMs / 2);
  t.is(tree.knob('user', 'memory.high'), 'max');
  await turn(settings.guard.resumeHoldMs / 2 + 1000);
  t.is(tree.knob('user', 'memory.high'), limit);
});

test('memory that comes or goes takes limits off for a while', async (t) => {
  const tree = cgroupTree(t);
  const { loop, turn } = managing(t, tree);
  await turn();
  const before = Number(tree.knob('user', 'memory.high'));
  t.true(before > 0);
  tree.totalBytes = 24 * GiB;
  await turn();
  t.is(loop.decision!.why[0]?.rule, 'memory-changed');
  t.is(tree.knob('user', 'memory.high'), 'max');
  for (let second = 0; second <= settings.guard.resumeHoldMs / 1000; second += 1) await turn();
  t.is(Number(tree.knob('user', 'memory.high')), before * 1.5, 'half of what there is now');
});

test('without swap no limit is set, and one that stands goes with the swap', async (t) => {
  const tree = cgroupTree(t);
  const { turn } = managing(t, tree);
  await turn();
  t.true(Number(tree.knob('user', 'memory.high')) > 0);
  tree.swapBytes = 0;
  await turn();
  for (const side of sides) t.is(tree.knob(side, 'memory.high'), 'max');
});

test('what files say instead of numbers is no number, and no reason to stop', async (t) => {
  const tree = cgroupTree(t);
  const { loop, turn } = managing(t, tree);
  await turn();
  for (const text of ['max', '', '-1', 'odd', '9'.repeat(40)]) {
    tree.set('user', 'memory.current', text);
    const seen = lookAtMachine(tree.places, 1, tree.files);
    t.is(seen.sides.user, undefined, text);
    t.truthy(seen.sides.system);
  }
  tree.show();
  rmSync(join(tree.places.memory!.root, 'user.slice/memory.stat'));
  rmSync(join(tree.places.memory!.root, 'user.slice/memory.pressure'));
  const { user } = lookAtMachine(tree.places, 1, tree.files).sides;
  t.deepEqual(
    [user?.currentBytes, user?.anonBytes, user?.pressure],
    [4 * GiB, undefined, undefined],
  );
  tree.set('user', 'memory.low', 'max');
  await turn();
  t.like(loop.theirs, [{ side: 'user', knob: 'memory.low', value: 'max' }]);
});

test('counters that go backwards say nothing', (t) => {
  const waited = (someUs: number) => ({ pressure: { someUs, fullUs: someUs } });
  const host = (atMs: number, someUs: number) => look(atMs, waited(someUs), {}, waited(someUs));
  const [before, after] = [host(0, 900_000), host(1000, 100)];
  t.is(waiting(before, after, 'user'), undefined);
  t.is(hostWaiting(before, after), undefined);
  t.is(hostWaiting(host(0, 0), host(1000, 250_000)), 0.25);
  t.is(hostWaiting(host(1000, 0), host(1000, 250_000)), undefined, 'no time between');
  t.is(hostWaiting(host(0, 0), host(1000, 2 ** 53)), 1, 'never more than all of it');
});

test('whatever counters do, goals stay numbers within their bounds', (t) => {
  const jumps = fc.array(fc.constantFrom(0, 1, 2 ** 32, 2 ** 53, 2 ** 63), {
    minLength: 80,
    maxLength: 80,
  });
  for (const policy of policies)
    fc.assert(
      fc.property(lives, jumps, (life, wraps) => {
        let state: StepState | undefined;
        return life.every((seen, index) => {
          const now = structuredClone(seen);
          const { user } = now.sides;
          const wrap = wraps[index] ?? 0;
          if (user && wrap !== 1)
            Object.assign(user, {
              refaults: wrap,
              activations: wrap,
              highEvents: wrap,
              pressure: { someUs: wrap, fullUs: wrap },
            });
          const one = step({ policy, settings, now, hints: [], state });
          state = one.state;
          return sides.every((side) => {
            const { lowBytes, highBytes } = one.goals[side];
            const low = lowBytes >= 0 && lowBytes <= settings.maxShare * now.totalBytes + 1;
            const high =
              highBytes === undefined ||
              (highBytes >= settings.minShare * now.totalBytes && highBytes < now.totalBytes);
            return low && high;
          });
        });
      }),
      { numRuns: 40 },
    );
  t.pass();
});

/** A program that makes and removes this group as fast as it can. */
async function churning(t: ExecutionContext, folder: string) {
  t.teardown(() => removeGroup(folder));
  const program = fileURLToPath(new URL('churning-child.ts', import.meta.url));
  const child = partner(t, process.execPath, '--no-warnings', program, folder);
  t.is(await child.line(), 'ready');
  return child;
}

when(test, memoryNeeds)(
  'a group that comes and goes while it is read is there or not, and never a failure',
  async (t) => {
    const { at, version } = memoryHierarchy()!;
    const folder = `${at}/persona-test-churn-${process.pid}`;
    const child = await churning(t, folder);
    const tree = cgroupTree(t);
    const groups = { user: basename(folder), system: 'persona-test-none' };
    const places = { ...tree.places, groups, memory: { root: at, version }, hardLimits: true };
    let there = 0;
    for (let looks = 0; looks < 5_000; looks += 1) {
      const { user, system } = lookAtMachine(places, looks, tree.files).sides;
      t.is(system, undefined);
      if (user === undefined) continue;
      there += 1;
      if (!Number.isSafeInteger(user.currentBytes)) t.fail(`${user.currentBytes}`);
    }
    t.log(`there in ${there} of 5000 looks`);
    await child.end();
    createGroup(folder);
    t.truthy(lookAtMachine(places, 0, tree.files).sides.user);
  },
);

when(test, memory1Needs)(
  'knobs of a group that comes and goes are set or refused, and no lease of it is left',
  async (t) => {
    const { at, version } = memoryHierarchy(1)!;
    const group = `persona-test-lease-${process.pid}`;
    const knob = 'memory.soft_limit_in_bytes';
    const child = await churning(t, join(at, group));
    const book = LeaseBook.open(leaseFile(join(temporaryFolder(t), 'leases.json')));
    const ground = machineGround(false);
    const leases = new Leases({ book, ground, boot: 'b', now: () => 1 });
    const place = { root: at, version, controller: 'memory', group, knob } as const;
    const states = new Set<string>();
    for (let n = 0; n < 200; n += 1) {
      states.add((await leases.set(place, `${4096 * (1 + (n % 7))}`)).state);
      if (n % 3 === 0) await leases.check();
      if (n % 5 === 0) await leases.releaseAll();
    }
    t.log([...states].join(', '));
    await child.end();
    await leases.releaseAll();
    t.deepEqual(leases.all(), []);
    createGroup(join(at, group));
    const fresh = readKnob(join(at, group), knob);
    t.is((await leases.set(place, '8192')).state, 'written');
    t.is((await leases.releaseAll())[0]?.state, 'restored');
    t.is(readKnob(join(at, group), knob), fresh);
  },
);
