import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { memoryChecks, memoryNotices, remarksOf } from '../../../daemon/compose/partitions.ts';
import { type Properties, unitPath } from '../../../daemon/kernel/asked-properties.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { MemoryLoop } from '../../../daemon/partitions/loop.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { lookAtMachine, openGlance } from '../../../daemon/partitions/machine-look.ts';
import {
  killsIn,
  type OomdKill,
  openOomdSettings,
  unitsOfSides,
} from '../../../daemon/partitions/oomd-settings.ts';
import { otherManagers } from '../../../daemon/partitions/other-managers.ts';
import type { Places } from '../../../daemon/partitions/places.ts';
import { findPolicy } from '../../../daemon/partitions/policies/index.ts';
import { Recorder } from '../../../daemon/partitions/recorder.ts';
import { type CgroupTree, cgroupTree } from './cgroup-tree.ts';

// What a person is told of whoever else has to do with the memory of this machine.

/** A group with this path is there. */
const runs = (tree: CgroupTree, ...groups: string[]) => {
  for (const group of groups)
    mkdirSync(join(tree.places.memory?.root ?? '', group), { recursive: true });
};

/** The room, as far as it is told of, over a tree of files. */
function roomOver(
  t: ExecutionContext,
  tree: CgroupTree,
  manage: boolean,
  { kills = [], places = tree.places }: { kills?: readonly OomdKill[]; places?: Places } = {},
) {
  const now = () => 1_000_000;
  const book = LeaseBook.open(leaseFile(join(tree.folder, 'leases.json')));
  const leases = new Leases({ book, ground: machineGround(false), boot: 'b', now });
  const { glance, close } = openGlance(tree.files);
  t.teardown(close);
  const recorder = new Recorder({
    ...{ store: undefined, folder: tree.folder, log: silentLog, wallMs: now },
  });
  const look = (atMs: number) => lookAtMachine(places, atMs, tree.files);
  const loop = new MemoryLoop(
    { places, leases, recorder, log: silentLog, nowMs: now, wallMs: now, look, glance },
    { policy: findPolicy('protective')!, manage },
  );
  t.teardown(() => loop.stop());
  const settings = { weights: { user: 0, system: 0 }, cost: false };
  const io = { settings, shares: () => [], sharing: () => [] };
  return { places, loop, leases, io, oomdKills: async () => [...kills] };
}

const session = 'user@1000.service';
const kills: OomdKill[] = [
  { unit: session, setting: 'ManagedOOMMemoryPressure', limitPercent: 50 },
  { unit: '-.slice', setting: 'ManagedOOMSwap' },
];

test('services that look after memory themselves are named while they run', (t) => {
  const tree = cgroupTree(t);
  t.deepEqual(otherManagers(tree.places), []);
  runs(tree, 'system.slice/memavaild.service', 'system.slice/ananicy-cpp.service');
  const named = ['memavaild.service', 'ananicy-cpp.service'];
  const remarks = otherManagers(tree.places);
  t.deepEqual(
    remarks.map((one) => one.split(' ')[0]),
    named,
  );
  t.regex(remarks[0] ?? '', /memory\.high of the same two slices/);
  t.deepEqual(otherManagers({}), [], 'without a controller nobody is seen');
  const told = remarksOf(roomOver(t, tree, false), kills);
  for (const one of remarks) t.true(told.includes(one));
});

test('systemd is asked for both sides, what they are in, and the sessions of users', (t) => {
  const tree = cgroupTree(t);
  t.deepEqual(unitsOfSides(tree.places), ['-.slice', 'user.slice', 'system.slice']);
  runs(tree, `user.slice/user-1000.slice/${session}`, 'user.slice/user-1001.slice/session-1.scope');
  runs(tree, 'user.slice/user-x.slice/user@x.service');
  const all = ['-.slice', 'user.slice', 'system.slice', session];
  t.deepEqual(unitsOfSides(tree.places), all);
  const groups = { user: 'user.slice', system: 'gone.slice' };
  t.deepEqual(unitsOfSides({ ...tree.places, groups }), ['-.slice', 'user.slice', session]);
  t.deepEqual(unitsOfSides({ groups, recursive: true }), []);
  t.is(unitPath(session), '/org/freedesktop/systemd1/unit/user_401000_2eservice');
  t.is(unitPath('1-é.slice'), '/org/freedesktop/systemd1/unit/_31_2d_c3_a9_2eslice');
});

test('of what systemd says the settings by which programs are ended', (t) => {
  const of = (pressure: string, limit: number, swap: string) => ({
    ManagedOOMMemoryPressure: pressure,
    ManagedOOMMemoryPressureLimit: limit,
    ManagedOOMSwap: swap,
  });
  const properties = new Map<string, Properties>([
    [session, of('kill', 0x8000_0000, 'auto')],
    ['-.slice', of('auto', 0, 'kill')],
    ['user.slice', of('kill', 0, 'auto')],
    ['system.slice', of('auto', 0x8000_0000, 'auto')],
    // A systemd of before these properties.
    ['old.slice', {}],
  ]);
  const byDefault = { unit: 'user.slice', setting: 'ManagedOOMMemoryPressure' };
  t.deepEqual(killsIn(properties), [...kills, byDefault] as OomdKill[]);
});

test('systemd is asked once in a while, and one that does not answer says nothing', async (t) => {
  const tree = cgroupTree(t);
  const clock = { ms: 0 };
  const answers = [
    async () => new Map([['user.slice', { ManagedOOMSwap: 'kill' }]]),
    () => Promise.reject(new Error('busy')),
  ];
  let asked = 0;
  const ask = () => {
    asked += 1;
    return answers[asked - 1]!();
  };
  const settings = openOomdSettings(tree.places, ask, () => clock.ms);
  const swap = [{ unit: 'user.slice', setting: 'ManagedOOMSwap' }] as OomdKill[];
  t.deepEqual(await settings(), swap);
  clock.ms = 9_999;
  t.deepEqual(await settings(), swap);
  t.is(asked, 1);
  clock.ms = 10_000;
  t.deepEqual(await settings(), []);
  t.is(asked, 2);
});

test('whose programs systemd-oomd is to end is remarked, and warned of while limits are set', async (t) => {
  const tree = cgroupTree(t);
  const told = remarksOf(roomOver(t, tree, false), kills).slice(-2);
  t.regex(told[0] ?? '', /user@1000\.service .*ManagedOOMMemoryPressure=kill, limit 50 %/);
  t.regex(told[1] ?? '', /-\.slice .*ManagedOOMSwap=kill/);
  const ofConf = { unit: 'user.slice', setting: 'ManagedOOMMemoryPressure' } as const;
  t.regex(remarksOf(roomOver(t, tree, false), [ofConf]).at(-1) ?? '', /limit of oomd\.conf/);
  const warned = async (manage: boolean) =>
    (await memoryChecks(roomOver(t, tree, manage, { kills }))).filter(
      ({ state }) => state === 'warning',
    );
  t.deepEqual(await warned(true), [], 'it does not run');
  runs(tree, 'system.slice/systemd-oomd.service');
  t.deepEqual(await warned(false), [], 'nothing is set');
  const warnings = await warned(true);
  t.deepEqual(
    warnings.map(({ name, detail }) => [name, detail]),
    told.map((detail) => ['systemd-oomd', detail]),
  );
  t.regex(
    warnings[0]?.fix ?? '',
    /set-property -- user@1000\.service ManagedOOMMemoryPressure=auto/,
  );
});

test('what is wanted and cannot be managed is noticed, and what could not be given back', async (t) => {
  const tree = cgroupTree(t);
  t.deepEqual(memoryNotices(roomOver(t, tree, true)), []);
  const inside = { ...tree.places, own: '/user.slice/x' };
  const [obstacle, ...more] = memoryNotices(roomOver(t, tree, true, { places: inside }));
  t.regex(obstacle?.text ?? '', /^memory is not managed: the daemon itself runs in user\.slice/);
  t.deepEqual(more, []);
  t.deepEqual(memoryNotices(roomOver(t, tree, false, { places: inside })), []);
  const room = roomOver(t, tree, false);
  const { root, version } = tree.places.memory!;
  const place = { root, version, controller: 'memory', group: 'user.slice' } as const;
  await room.leases.set({ ...place, knob: 'memory.low' }, '8192');
  const [left] = memoryNotices(room);
  t.regex(left?.text ?? '', /^not given back yet, and tried again: user\.slice\/memory\.low$/);
});
