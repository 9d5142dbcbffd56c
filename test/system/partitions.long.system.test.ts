import test from 'ava';
import { lacking, when } from '../support/needs.ts';
import { asked, slowMs, until } from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// Knobs of a machine with cgroup version 2 and systemd: taken, seen, given back, and never another program's.

const scenario = when(test, needsVm);
const vm =
  lacking(needsVm) === undefined ? fileVm(test, { suite: 'trixie', snapshot: true }) : never;

function never(): never {
  throw new Error('there is no machine');
}

const unit = 'personad.service';
const groups = ['user.slice', 'system.slice'];

interface Shown {
  managed: boolean;
  policy: string;
  leases: { group: string; knob: string; by: string; old: string }[];
  theirs: { side: string; knob: string; value: number }[];
  sides: { side: string; present: boolean; currentBytes?: number; low?: number | 'max' }[];
  io?: { set: { group: string; knob: string; state: string }[] };
  remarks: string[];
}
const show = () => asked<Shown>(vm(), 'partitions show');

/** What the kernel has for each side. */
async function knobs(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const group of groups)
    for (const knob of ['memory.low', 'memory.high', 'memory.max'])
      found[`${group} ${knob}`] = (await vm().must(`cat /sys/fs/cgroup/${group}/${knob}`)).trim();
  return found;
}

/** What the kernel has for disks: the weight of the user's side, where it has the controller, and the switches of disks. */
async function diskKnobs(): Promise<{ weight: string; cost: string }> {
  const read = (file: string) => vm().must(`cat /sys/fs/cgroup/${file} 2>/dev/null; true`);
  const [weight, cost] = [await read('user.slice/io.weight'), await read('io.cost.qos')];
  return { weight: weight.trim(), cost };
}

/** Files in which systemd keeps what was set at run time. */
const dropIns = (names = '50-Memory*') =>
  vm().must(`find /run/systemd/system.control -name "${names}" 2>/dev/null | sort; true`);

if (lacking(needsVm) === undefined)
  test.serial.before('something runs on the user side', async (t) => {
    t.timeout(10 * 60_000);
    await vm().must('systemd-run --quiet --slice=user.slice --unit=desktop sleep infinity');
  });

scenario('a fresh installation sees both sides and sets nothing', async (t) => {
  const before = await knobs();
  // What the sides use changes little: until the next look what is shown may be from before.
  await until('it has looked', async () =>
    (await show()).sides.every(({ currentBytes }) => (currentBytes ?? 0) > 0),
  );
  const { managed, leases } = await show();
  t.false(managed);
  t.deepEqual(leases, []);
  t.deepEqual(await knobs(), before);
  t.is(await dropIns(), '');
});

/** From its next start on the daemon manages, with more settings of the room, and is started once only. */
const manage = (more = '') =>
  vm().must(
    [
      'mkdir -p /etc/persona/conf.d /etc/systemd/system/personad.service.d',
      `printf '[partitions]\\nmode = "manage"\\n${more}' > /etc/persona/conf.d/memory.toml`,
      `printf '[Service]\\nRestart=no\\n' > /etc/systemd/system/personad.service.d/once.conf`,
      'systemctl daemon-reload',
    ].join(' && '),
  );

scenario('what it manages is set by systemd, and goes back on stop and after a kill', async (t) => {
  const before = await knobs();
  await manage();
  const managedNow = async () => {
    await vm().must(`systemctl restart ${unit}`, { deadlineMs: slowMs });
    await until('the sides are protected', async () => (await show()).leases.length >= 2);
  };
  await managedNow();
  const during = await knobs();
  for (const group of groups) {
    t.true(Number(during[`${group} memory.low`]) > 0, group);
    t.is(during[`${group} memory.max`], before[`${group} memory.max`]);
  }
  t.true((await show()).leases.every(({ by }) => by === 'systemd'));
  t.log(during, await dropIns());
  await vm().must('systemctl daemon-reload');
  t.deepEqual(await knobs(), during, 'systemd itself has these values');

  await vm().must(`systemctl stop ${unit}`, { deadlineMs: slowMs });
  t.deepEqual(await knobs(), before);
  t.is(await dropIns(), '');

  await managedNow();
  const killed = performance.now();
  await vm().must(`systemctl kill --signal=KILL --kill-whom=main ${unit}`);
  await until('all is as it was', async () => {
    const now = await knobs();
    return Object.entries(before).every(([knob, value]) => now[knob] === value);
  });
  t.log(
    `given back ${Math.round(performance.now() - killed)} ms after the kill, as seen from outside`,
  );
  await until('its unit has ended', async () => (await dropIns()) === '');
  await vm().must('systemctl daemon-reload');
  t.deepEqual(await knobs(), before, 'systemd itself has the old values');
  await vm().run(`systemctl reset-failed ${unit}`);
});

scenario('the weight of a side is set by systemd, and goes back after a kill', async (t) => {
  const isFree = (weight: string) => ['', 'default 100'].includes(weight);
  const before = await diskKnobs();
  t.true(isFree(before.weight), before.weight);
  await manage('io_weight_user = 400\\nio_cost = "on"\\n');
  await vm().must(`systemctl restart ${unit}`, { deadlineMs: slowMs });
  let set: NonNullable<Shown['io']>['set'] = [];
  await until('it is known what became of both', async () => {
    set = (await show()).io?.set ?? [];
    return set.length === 2;
  });
  // This NVMe disk may have several paths for the kernel: there is no io.cost for it, and that is said.
  t.deepEqual(
    set.map(({ knob, state }) => [knob.split(' ')[0], state]),
    [
      ['io.weight', 'written'],
      ['io.cost.qos', 'refused'],
    ],
  );
  t.regex(
    (await show()).remarks.join('\n'),
    /io\.cost\.qos .* is not set: .*nvme_core\.multipath=N/,
  );
  t.is((await diskKnobs()).weight, 'default 400');

  await vm().must(`systemctl kill --signal=KILL --kill-whom=main ${unit}`);
  const isBack = async () => {
    const { weight, cost } = await diskKnobs();
    return isFree(weight) && cost === before.cost;
  };
  await until('both are as they were', isBack);
  await until('its unit has ended', async () => (await dropIns('50-*')) === '');
  await vm().must('systemctl daemon-reload');
  t.true(await isBack(), 'systemd itself has the old value');
  await manage();
  await vm().run(`systemctl reset-failed ${unit}`);
});

scenario('what an administrator sets meanwhile is left alone, then and afterwards', async (t) => {
  await vm().must(`systemctl start ${unit}`, { deadlineMs: slowMs });
  await until('the sides are protected', async () => (await show()).leases.length >= 2);
  await vm().must('systemctl set-property --runtime user.slice MemoryLow=33554432');
  await until('it is seen', async () => (await show()).theirs.length === 1);
  t.like((await show()).theirs[0], { side: 'user', knob: 'memory.low', value: 33_554_432 });
  await vm().must(`systemctl stop ${unit}`, { deadlineMs: slowMs });
  t.is((await knobs())['user.slice memory.low'], '33554432');
  t.regex(await dropIns(), /user\.slice\.d\/50-MemoryLow\.conf/);
  t.is((await knobs())['system.slice memory.low'], '0');
});

// The last: nothing is installed afterwards.
scenario('a package that is purged leaves every knob as it was before', async (t) => {
  await vm().must('systemctl set-property --runtime user.slice MemoryLow=0');
  await vm().must('systemctl revert user.slice');
  const before = await knobs();
  for (const group of groups) t.is(before[`${group} memory.low`], '0');
  await vm().must(`systemctl start ${unit}`, { deadlineMs: slowMs });
  await until('the sides are protected', async () => (await show()).leases.length >= 2);
  const during = await knobs();
  for (const group of groups) t.true(Number(during[`${group} memory.low`]) > 0, group);
  await vm().must('dpkg --purge personad', { deadlineMs: slowMs });
  t.deepEqual(await knobs(), before);
  t.is(await dropIns(), '');
  await vm().must('systemctl daemon-reload');
  t.deepEqual(await knobs(), before, 'systemd itself has the old values');
  t.is((await vm().run('test -e /var/lib/persona/personad.db')).status, 1);
});
