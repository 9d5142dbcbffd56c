import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import {
  createGroup,
  moveProcess,
  readKnob,
  removeGroup,
  writeKnob,
} from '../../../daemon/kernel/cgroups.ts';
import { floorBytes } from '../../../daemon/partitions/guard.ts';
import { knobAmount, knobFile, knobOfFile, knobText } from '../../../daemon/partitions/knobs.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { MemoryLoop } from '../../../daemon/partitions/loop.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { lookAtMachine, openGlance } from '../../../daemon/partitions/machine-look.ts';
import type { Side } from '../../../daemon/partitions/observation.ts';
import { notManageable, type Places } from '../../../daemon/partitions/places.ts';
import { findPolicy } from '../../../daemon/partitions/policies/index.ts';
import { policySettings as settings } from '../../../daemon/partitions/policy-settings.ts';
import { Recorder } from '../../../daemon/partitions/recorder.ts';
import { memory1Needs, memoryHierarchy } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { GiB, look } from './looks.ts';

const MiB = 2 ** 20;
const limit = 'memory.limit_in_bytes';

test('the knobs of version 1 are named and written its own way', (t) => {
  t.is(knobFile(1, 'memory.high'), limit);
  t.is(knobFile(2, 'memory.high'), 'memory.high');
  t.is(knobOfFile(limit), 'memory.high');
  t.is(knobOfFile('memory.low'), 'memory.low');
  t.is(knobOfFile('io.weight'), undefined);
  t.is(knobText(1, 'max'), '-1');
  t.is(knobText(2, 'max'), 'max');
  t.is(knobText(1, 4096), '4096');
  t.is(knobAmount('9223372036854771712'), 'max');
  t.is(knobAmount('max'), 'max');
  t.is(knobAmount('4096'), 4096);
  t.is(knobAmount('-1'), undefined);
});

test('a hard limit leaves room above all that is used, and moves in steps', (t) => {
  const { hardRoomBytes, hardStepBytes } = settings.guard;
  for (let used = 0; used < 8 * GiB; used += 77 * MiB + 4096) {
    const now = look(0, { currentBytes: used, hard: true });
    const floor = floorBytes(now.sides.user!, now, settings);
    t.true(floor >= used + hardRoomBytes);
    t.true(floor <= Math.max(used + hardRoomBytes + hardStepBytes, settings.minShare * 16 * GiB));
  }
});

const version1 = when(test, memory1Needs);

/** Holds as much memory as it is told to. */
const holder = `const held = [];
require('node:readline').createInterface({ input: process.stdin }).on('line', (mib) => {
  held.push(Buffer.alloc(Number(mib) * 2 ** 20, 1));
  console.log('held');
});`;

/** The loop over two real groups, on a machine of 1.5 GiB that exists in files only. */
function hardLoop(t: ExecutionContext, { swapMiB = 4096, hardLimits = true } = {}) {
  const { at } = memoryHierarchy(1)!;
  const folder = temporaryFolder(t);
  const name = (side: Side) => `persona-test-hard-${side}-${process.pid}`;
  const groups = { user: name('user'), system: name('system') };
  for (const group of Object.values(groups)) {
    t.teardown(() => removeGroup(`${at}/${group}`));
    createGroup(`${at}/${group}`);
  }
  const files = { meminfo: join(folder, 'meminfo'), pressure: join(folder, 'pressure') };
  const kib = (field: string, mib: number) => `${field}: ${mib * 1024} kB\n`;
  writeFileSync(
    files.meminfo,
    `${kib('MemTotal', 1536)}${kib('MemFree', 900)}${kib('MemAvailable', 900)}${kib('SwapTotal', swapMiB)}${kib('SwapFree', swapMiB)}`,
  );
  const places: Places = {
    groups,
    memory: { root: at, version: 1 },
    hardLimits,
    recursive: false,
    own: '/x',
  };
  const clock = { ms: 1_000_000 };
  mkdirSync(join(folder, 'run'));
  const book = LeaseBook.open(leaseFile(join(folder, 'run/leases.json')));
  const leases = new Leases({ book, ground: machineGround(false), boot: 'b', now: () => clock.ms });
  const wallMs = () => clock.ms;
  const { glance, close } = openGlance(files);
  t.teardown(close);
  const recorder = new Recorder({ store: undefined, folder, log: silentLog, wallMs });
  const loop = new MemoryLoop(
    {
      places,
      leases,
      recorder,
      log: silentLog,
      nowMs: () => clock.ms,
      wallMs,
      look: (atMs) => lookAtMachine(places, atMs, files),
      glance,
    },
    { policy: findPolicy('static')!, manage: true },
  );
  t.teardown(() => loop.stop());
  const tick = async () => {
    clock.ms += 1000;
    await loop.tick();
  };
  const read = (side: Side, knob = limit) => readKnob(`${at}/${groups[side]}`, knob);
  return { loop, leases, places, tick, read, folder: (side: Side) => `${at}/${groups[side]}` };
}

version1(
  'with hard limits on a side is limited above what it uses, and lifted as it grows',
  async (t) => {
    const { loop, tick, read, folder } = hardLoop(t);
    const free = read('user');
    const child = partner(t, process.execPath, '-e', holder);
    await moveProcess(folder('user'), child.process.pid!);
    child.say('100');
    t.is(await child.line(), 'held');
    await tick();
    t.is(loop.last!.sides.user!.high, 'max');
    t.is(loop.last!.sides.user!.low, undefined);
    t.is(Number(read('user')), 768 * MiB, 'half of the machine');
    t.is(Number(read('system')), 768 * MiB);
    for (let grown = 0; grown < 6; grown += 1) {
      child.say('60');
      t.is(await child.line(), 'held');
      await tick();
      const used = loop.last!.sides.user!.currentBytes;
      t.true(
        Number(read('user')) >= used + settings.guard.hardRoomBytes,
        `${read('user')} ${used}`,
      );
    }
    t.is(Number(read('user')), 1024 * MiB);
    t.is(child.process.exitCode, null, 'nobody was ended');
    t.deepEqual(new Set((await loop.stop()).map(({ state }) => state)), new Set(['restored']));
    t.is(read('user'), free);
    t.is(read('system'), free);
  },
);

version1('a hard limit that another program has set, before or since, is left alone', async (t) => {
  const { loop, tick, read, folder } = hardLoop(t);
  await writeKnob(folder('system'), limit, String(900 * MiB));
  await tick();
  t.is(Number(read('system')), 900 * MiB);
  t.like(loop.theirs, [{ side: 'system', knob: 'memory.high', value: 900 * MiB }]);
  await writeKnob(folder('user'), limit, String(800 * MiB));
  await tick();
  t.is(Number(read('user')), 800 * MiB);
  await writeKnob(folder('user'), limit, '-1');
  await tick();
  t.is(
    loop.theirs.find(({ side }) => side === 'user')?.value,
    'max',
    'and stays theirs for a while',
  );
  t.deepEqual(await loop.stop(), []);
  t.is(Number(read('system')), 900 * MiB);
});

version1('without swap, or unless it is asked for, version 1 has no limits', async (t) => {
  const noSwap = hardLoop(t, { swapMiB: 0 });
  const free = noSwap.read('user');
  await noSwap.tick();
  t.is(noSwap.read('user'), free);
  t.true(noSwap.loop.decision!.why.some(({ rule }) => rule === 'no-swap'));
  t.deepEqual(noSwap.leases.all(), []);
  await noSwap.loop.stop();
  const off = hardLoop(t, { hardLimits: false });
  await off.tick();
  t.is(off.read('user'), free);
  t.deepEqual(off.loop.decision!.writes, []);
  t.regex(notManageable(off.places)!, /observed, not managed, unless partitions\.hard_limits/);
});
