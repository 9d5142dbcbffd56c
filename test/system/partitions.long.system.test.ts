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

/** Files in which systemd keeps what was set at run time. */
const dropIns = () =>
  vm().must('find /run/systemd/system.control -name "50-Memory*" 2>/dev/null | sort; true');

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

scenario('what it manages is set by systemd, and goes back on stop and after a kill', async (t) => {
  const before = await knobs();
  await vm().must(
    [
      'mkdir -p /etc/persona/conf.d /etc/systemd/system/personad.service.d',
      `printf '[partitions]\\nmode = "manage"\\n' > /etc/persona/conf.d/memory.toml`,
      `printf '[Service]\\nRestart=no\\n' > /etc/systemd/system/personad.service.d/once.conf`,
      'systemctl daemon-reload',
    ].join(' && '),
  );
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
