import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  createGroup,
  readHierarchies,
  readKnob,
  removeGroup,
} from '../../../daemon/kernel/cgroups.ts';
import { costOf, diskSharing, hasGoal, schedulerIn } from '../../../daemon/kernel/disk-sharing.ts';
import { type IoSettings, IoShares, ioWishes } from '../../../daemon/partitions/io-shares.ts';
import { sameValue, textFor, valueIn } from '../../../daemon/partitions/knob-text.ts';
import { parseLeases } from '../../../daemon/partitions/lease.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import type { UnitKnobs } from '../../../daemon/partitions/lease-ground.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import type { Places } from '../../../daemon/partitions/places.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const weight = { knob: 'io.weight' };
const cost = { knob: 'io.cost.qos', device: '259:0' };

test('a weight is the default line of its file, whatever else stands there', (t) => {
  t.is(valueIn('default 100\n8:0 300', weight), '100');
  t.is(valueIn('200', weight), '200');
  t.is(valueIn('', weight), undefined);
  t.is(textFor('200', weight), '200');
  t.false(sameValue('100', '200', weight), 'no pages here');
  t.true(sameValue('200', '200', weight));
});

/** As Linux 6.12 says it of a disk that io.cost was turned on for, and nothing else. */
const auto = 'rpct=0.00 rlat=25000 wpct=0.00 wlat=25000 min=1.00 max=10000.00';

test('of io.cost the line of the one disk is read and written, without the figures of the kernel', (t) => {
  const own = 'enable=0 ctrl=user rpct=95.00 rlat=500 wpct=0.00 wlat=25000 min=1.00 max=100.00';
  const text = `8:0 enable=1 ctrl=auto ${auto}\n259:0 ${own}`;
  t.is(valueIn(text, cost), own);
  t.is(valueIn(text, { ...cost, device: '8:0' }), 'enable=1 ctrl=auto');
  t.is(valueIn(text, { ...cost, device: '9:0' }), 'enable=0 ctrl=auto', 'never set');
  t.is(valueIn('259:0 odd', cost), undefined);
  t.is(textFor(own, cost), `259:0 ${own}`);
  t.is(textFor('enable=0 ctrl=auto', cost), '259:0 enable=0 ctrl=auto');
  t.true(hasGoal(own));
  t.true(hasGoal(own.replace('rpct=95.00', 'rpct=0.00')), 'a bound');
  t.false(hasGoal(`enable=1 ctrl=user ${auto}`), 'what the kernel starts with, said by somebody');
  t.false(hasGoal(costOf(text, '8:0') ?? ''));
});

/** What is written where nobody has said what a disk can do. */
const goal = 'enable=1 ctrl=user rpct=95.00 rlat=2000 wpct=95.00 wlat=10000 min=25.00 max=10000.00';

/** A hierarchy of version 2 with the io controller, and three disks, as files. */
function fixture(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const [root, blocks] = [join(folder, 'cgroup'), join(folder, 'block')];
  const files: Record<string, string> = {
    'cgroup/io.cost.qos': '',
    'cgroup/user.slice/io.weight': 'default 100\n259:0 700',
    'cgroup/system.slice/io.weight': 'default 100',
    'block/nvme0n1/dev': '259:0',
    'block/nvme0n1/queue/scheduler': '[none] mq-deadline kyber bfq',
    'block/sda/dev': '8:0',
    'block/sda/queue/scheduler': 'none mq-deadline [bfq]',
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), `${text}\n`);
  }
  const places: Places = {
    groups: { user: 'user.slice', system: 'system.slice' },
    io: { root },
    recursive: true,
  };
  const file = join(folder, 'leases.json');
  const open = (units?: UnitKnobs) =>
    new Leases({
      book: LeaseBook.open(leaseFile(file)),
      ground: { ...machineGround(false), ...(units && { units }) },
      boot: 'b',
      now: () => 1,
    });
  const leases = open();
  const sharing = () => diskSharing(root, ['nvme0n1', 'sda', 'gone'], blocks);
  const settings: IoSettings = { weights: { user: 200, system: 50 }, cost: true };
  const shares = new IoShares({ leases, wishes: () => ioWishes(places, settings, sharing()) });
  const read = (name: string) => readFileSync(join(root, name), 'utf8').trim();
  const write = (name: string, text: string) => writeFileSync(join(root, name), text);
  const remove = (name: string) => rmSync(join(folder, name));
  const states = () => shares.shares.map(({ wish, state }) => `${wish.knob} ${state}`);
  return {
    root,
    places,
    settings,
    leases,
    open,
    shares,
    sharing,
    states,
    read,
    write,
    remove,
    file,
  };
}

test('who gives the requests of a disk their turn is told', (t) => {
  const { sharing, write } = fixture(t);
  t.deepEqual(sharing(), [
    {
      ...{ name: 'nvme0n1', device: '259:0', by: 'nothing', scheduler: 'none' },
      ...{ queues: true, unbound: false, cost: 'enable=0 ctrl=auto' },
    },
    {
      ...{ name: 'sda', device: '8:0', by: 'bfq', scheduler: 'bfq' },
      ...{ queues: true, unbound: false, cost: 'enable=0 ctrl=auto' },
    },
  ]);
  write('io.cost.qos', '259:0 enable=1 ctrl=auto\n');
  t.is(sharing()[0]?.by, 'io.cost');
  t.is(schedulerIn('none'), 'none');
});

test('io.cost as the kernel starts it has no goal; a disk with several paths has no queue', (t) => {
  const { sharing, write, remove } = fixture(t);
  const line = `259:0 enable=1 ctrl=auto ${auto}`;
  write('io.cost.qos', `${line}\n`);
  t.true(sharing()[0]?.unbound);
  const said = line.replace('ctrl=auto', 'ctrl=user');
  write('io.cost.qos', `${said.replace('max=10000.00', 'max=50.00')}\n`);
  t.false(sharing()[0]?.unbound, 'a bound');
  write('io.cost.qos', `${said.replace('rpct=0.00', 'rpct=95.00')}\n`);
  t.false(sharing()[0]?.unbound, 'a goal');
  write('io.cost.qos', `${line.replace('enable=1', 'enable=0')}\n`);
  t.false(sharing()[0]?.unbound, 'off');
  remove('block/nvme0n1/queue/scheduler');
  t.false(sharing()[0]?.queues);
});

test('nothing is wished for unless it is asked for', (t) => {
  const { places, settings, sharing } = fixture(t);
  const disks = sharing();
  const { io: _, ...without } = places;
  t.deepEqual(ioWishes(without, settings, disks), []);
  const weights = { user: 0, system: 0 };
  t.deepEqual(ioWishes(places, { weights, cost: true }, disks), [], 'io.cost alone helps nobody');
  const one = ioWishes(places, { weights: { ...weights, user: 300 }, cost: false }, disks);
  t.like(one, [{ group: 'user.slice', knob: 'io.weight', value: '300' }]);
  t.is(one.length, 1);
  const devices = ioWishes(places, settings, disks).flatMap(({ device }) => device ?? []);
  t.deepEqual(devices, ['259:0'], 'bfq needs no io.cost');
});

test('weights and io.cost are leases like others: taken, kept, and given back after a kill', async (t) => {
  const { shares, leases, open, states, read, file } = fixture(t);
  await shares.apply(0);
  const three = ['io.weight written', 'io.weight written', 'io.cost.qos written'];
  t.deepEqual(states(), three);
  t.is(read('user.slice/io.weight'), '200');
  t.is(read('system.slice/io.weight'), '50');
  t.is(read('io.cost.qos'), `259:0 ${goal}`);
  t.deepEqual(
    parseLeases(readFileSync(file, 'utf8')).map(({ old, device }) => [old, device]),
    [
      ['100', undefined],
      ['100', undefined],
      ['enable=0 ctrl=auto', '259:0'],
    ],
  );
  await shares.apply(10_000);
  t.deepEqual(states(), three, 'a second turn changes nothing');
  t.is(leases.all().length, 3);
  // Another process finds what this one has left.
  t.deepEqual(
    new Set((await open().releaseAll()).map(({ state }) => state)),
    new Set(['restored']),
  );
  t.is(read('user.slice/io.weight'), '100');
  t.is(read('io.cost.qos'), '259:0 enable=0 ctrl=auto');
});

test('a goal that somebody has set is kept, and so is what stood there without one', async (t) => {
  const { shares, leases, states, read, write } = fixture(t);
  const own = 'ctrl=user rpct=90.00 rlat=300 wpct=0.00 wlat=25000 min=1.00 max=100.00';
  write('io.cost.qos', `259:0 enable=0 ${own}\n`);
  await shares.apply(0);
  t.is(read('io.cost.qos'), `259:0 enable=1 ${own}`);
  await leases.releaseAll();
  t.is(read('io.cost.qos'), `259:0 enable=0 ${own}`);
  shares.forget();

  write('io.cost.qos', `259:0 enable=1 ${own}\n`);
  await shares.apply(0);
  t.is(states()[2], 'io.cost.qos unchanged', 'there is nothing to do, and nothing to take');
  await leases.releaseAll();
  t.is(read('io.cost.qos'), `259:0 enable=1 ${own}`);
  shares.forget();

  write('io.cost.qos', `259:0 enable=1 ctrl=auto ${auto}\n`);
  await shares.apply(0);
  t.is(read('io.cost.qos'), `259:0 ${goal}`);
  await shares.apply(10_000);
  t.is(states()[2], 'io.cost.qos written');
  await leases.releaseAll();
  t.is(read('io.cost.qos'), '259:0 enable=1 ctrl=auto', 'on, as it was');
});

/** systemd, which turns a controller on for a group when it sets a property of it. */
function manager(root: string, works: boolean): { units: UnitKnobs; kept: Map<string, string> } {
  const kept = new Map<string, string>();
  const units: UnitKnobs = {
    find: (group) => group,
    kept: (unit) => kept.get(unit),
    async set(unit, knob, value) {
      kept.set(unit, value);
      if (works) writeFileSync(join(root, unit, knob), `default ${value}\n`);
    },
    forget: (unit) => kept.delete(unit),
  };
  return { units, kept };
}

test('systemd turns the controller on for a group that lacks it; where it does not, nothing of ours is left', async (t) => {
  const { root, open } = fixture(t);
  mkdirSync(join(root, 'other.slice'));
  const group = 'other.slice';
  const knob = { root, version: 2, controller: 'io', group, knob: 'io.weight' } as const;
  const failing = manager(root, false);
  const refused = open(failing.units);
  t.is((await refused.set(knob, '300', '100')).state, 'refused');
  t.deepEqual([refused.all(), [...failing.kept]], [[], []]);
  const { units, kept } = manager(root, true);
  const leases = open(units);
  t.deepEqual(await leases.set(knob, '300', '100'), { state: 'written', value: '300' });
  t.deepEqual([...kept], [['other.slice', '300']]);
  t.like(await open(units).releaseAll(), [{ state: 'restored' }]);
  t.is(readFileSync(join(root, 'other.slice/io.weight'), 'utf8'), 'default 100\n');
  t.deepEqual([...kept], []);
});

test('systemd is told of a value that the guard of a killed daemon has already given back', async (t) => {
  const { root, open, write } = fixture(t);
  const { units, kept } = manager(root, true);
  kept.set('user.slice', '100');
  const knob = {
    root,
    version: 2,
    controller: 'io',
    group: 'user.slice',
    knob: 'io.weight',
  } as const;
  await open(units).set(knob, '300');
  t.deepEqual([...kept], [['user.slice', '300']]);
  write('user.slice/io.weight', 'default 100');
  t.like(await open(units).releaseAll(), [{ state: 'restored' }]);
  t.deepEqual([...kept], [['user.slice', '100']]);
});

test('what another program has set, before or since, is left alone for a while', async (t) => {
  const { shares, leases, states, read, write } = fixture(t);
  write('system.slice/io.weight', 'default 80\n');
  await shares.apply(0);
  t.deepEqual(states(), ['io.weight written', 'io.weight foreign', 'io.cost.qos written']);
  write('user.slice/io.weight', 'default 900\n');
  await shares.apply(10_000);
  t.is(states()[0], 'io.weight foreign');
  write('user.slice/io.weight', 'default 100\n');
  await shares.apply(20_000);
  t.is(read('user.slice/io.weight'), 'default 100', 'two writers would only chase each other');
  await leases.releaseAll();
  t.is(read('system.slice/io.weight'), 'default 80');
  await shares.apply(700_000);
  t.is(states()[0], 'io.weight written');
  await leases.releaseAll();
});

test('a group without the controller is refused, and the reason is kept', async (t) => {
  const { shares, places } = fixture(t);
  places.groups.user = 'other.slice';
  mkdirSync(join(places.io!.root, 'other.slice'));
  await shares.apply(0);
  t.like(shares.shares[0], { state: 'refused', detail: 'the group other.slice has no io.weight' });
});

const io2 = () =>
  process.getuid?.() === 0
    ? readHierarchies().find(
        ({ version, at, controllers }) =>
          version === 2 &&
          controllers.includes('io') &&
          readKnob(at, 'cgroup.subtree_control')?.split(' ').includes('io'),
      )
    : undefined;

when(test, {
  root: true,
  other: () => (io2() ? undefined : 'needs cgroup version 2 with the io controller turned on'),
})('a weight of a real group is taken and given back', async (t) => {
  const { at } = io2()!;
  const group = `persona-test-io-${process.pid}`;
  t.teardown(() => removeGroup(`${at}/${group}`));
  createGroup(`${at}/${group}`);
  const before = readKnob(`${at}/${group}`, 'io.weight');
  const file = join(temporaryFolder(t), 'leases.json');
  const leases = new Leases({
    book: LeaseBook.open(leaseFile(file)),
    ground: machineGround(false),
    boot: 'b',
    now: () => 1,
  });
  const knob = { root: at, version: 2, controller: 'io', group, knob: 'io.weight' } as const;
  t.deepEqual(await leases.set(knob, '300', '100'), { state: 'written', value: '300' });
  t.is(readKnob(`${at}/${group}`, 'io.weight'), 'default 300');
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
  t.is(readKnob(`${at}/${group}`, 'io.weight'), before);
});
