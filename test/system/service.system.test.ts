import test from 'ava';
import { lacking, when } from '../support/needs.ts';
import { answerOf, program, putPrograms } from './support/guest-programs.ts';
import { expectNoRemains } from './support/remains.ts';
import {
  accounts,
  asked,
  expectHidden,
  populate,
  slotTree,
  slowMs,
  startReader,
  tool,
  until,
} from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// The installed service on a Debian 13 of its own: its own kernel, cgroup v2, real accounts, a real restart.

const scenario = when(test, needsVm);
const vm =
  lacking(needsVm) === undefined ? fileVm(test, { suite: 'trixie', snapshot: true }) : never;
if (lacking(needsVm) === undefined) {
  test.serial.before('personas and a slot', async (t) => {
    t.timeout(10 * 60_000);
    await putPrograms(vm(), 'make-trees', 'reader', 'calls');
    await populate(vm());
  });
  test.serial.afterEach.always((t) => expectHidden(t, vm()));
}

function never(): never {
  throw new Error('there is no machine');
}

const unit = 'personad.service';
const shown = () => vm().must(`stat --format='%d %i' ${slotTree}; cat ${slotTree}/etc/name`);

scenario('the service is ready, in a slice and a cgroup v2 of its own', async (t) => {
  t.is(await vm().must(`systemctl is-active ${unit}`), 'active\n');
  t.is(await vm().must('stat -fc %T /sys/fs/cgroup'), 'cgroup2fs\n');
  const group = await vm().must(`systemctl show -P ControlGroup ${unit}`);
  t.is(group, `/personad.slice/${unit}\n`);
  const controllers = await vm().must(`cat /sys/fs/cgroup${group.trim()}/cgroup.controllers`);
  t.regex(controllers, /memory.*pids|pids.*memory/);
  t.is(await vm().must('cat /sys/fs/cgroup/personad.slice/memory.min'), `${96 * 1024 ** 2}\n`);
  const { checks } = await asked<{ checks: { name: string; state: string }[] }>(vm(), 'doctor');
  t.deepEqual(
    checks.filter(({ state }) => state !== 'ok'),
    [],
  );
  t.regex(
    await vm().must('cat /proc/1/mountinfo'),
    / \/run\/persona\/slots\/work\/root .*nosuid,nodev/,
  );
});

scenario('swaps, and nobody who reads the slot ever finds nothing', async (t) => {
  const readers = {
    plain: await startReader(vm(), 'plain'),
    private: await startReader(vm(), 'private', 'PrivateTmp=yes'),
    strict: await startReader(vm(), 'strict', 'ProtectSystem=strict', 'ReadWritePaths=/run'),
  };
  const personas = ['b', 'a', 'b', 'a', 'b', 'a'];
  await vm().must(
    `for p in ${personas.join(' ')}; do personactl swap work $p || exit; sleep 0.5; done`,
    {
      user: accounts.owner,
      deadlineMs: slowMs,
    },
  );
  await until('no old tree is pinned', async () => {
    const { slot } = await asked<{ slot: { draining: unknown[] } }>(vm(), 'slot show work');
    return slot.draining.length === 0;
  });
  for (const [name, { pid }] of Object.entries(readers)) {
    const mounts = await vm().must(`cat /proc/${pid}/mountinfo`);
    t.is(mounts.split('\n').filter((line) => / - overlay persona:/.test(line)).length, 1, name);
  }
  for (const [name, reader] of Object.entries(readers)) {
    const { reads, seen, failures } = await reader.end();
    t.deepEqual(failures, [], name);
    t.deepEqual(seen, ['a', ...personas], name);
    t.log(`${name}: ${reads} reads, none failed`);
  }
  await expectNoRemains(t, vm(), 1);
});

scenario('a restart and a crash of the daemon leave the slot as it is', async (t) => {
  await vm().must(`echo kept > ${slotTree}/etc/written`);
  const before = await shown();
  const reader = await startReader(vm(), 'crash');
  await vm().must(`systemctl restart ${unit}`, { deadlineMs: slowMs });
  t.is(await shown(), before, 'the very same tree');
  await vm().must(`systemctl kill --signal=KILL --kill-whom=main ${unit}`);
  await until(
    'it was started again',
    async () => (await vm().run(['personactl', 'status'], { deadlineMs: slowMs })).status === 0,
  );
  t.is(await vm().must(`systemctl show -P NRestarts ${unit}`), '1\n');
  t.is(await shown(), before, 'the very same tree');
  const { failures, seen } = await reader.end();
  t.deepEqual([failures, seen], [[], ['a']]);
  await tool(vm(), 'swap work b', accounts.owner);
  await tool(vm(), 'swap work a', accounts.owner);
  t.is(await vm().must(`cat ${slotTree}/etc/written`), 'kept\n');
  await expectNoRemains(t, vm(), 1);
});

// SECURITY 1, on real accounts. test/daemon/api has the whole matrix of methods; these are calls that do something.
scenario(
  'root, the owner, another member and an ordinary user get exactly their rights',
  async (t) => {
    await tool(vm(), 'base import other --from /root/trees/c');
    await tool(vm(), 'persona create unused --base base --from-tree /root/trees/c');
    const path = (name: string) => ({ kind: 'path', path: `/root/trees/${name}` });
    const dryRun = true;
    const rows: [call: [string, object], ...may: ('root' | 'owner' | 'other' | 'user')[]][] = [
      [['daemon.status', {}], 'root', 'owner', 'other', 'user'],
      [['slot.list', {}], 'root', 'owner', 'other', 'user'],
      [['persona.list', {}], 'root', 'owner', 'other', 'user'],
      [['slot.history', { slot: 'work' }], 'root', 'owner'],
      // Programs run as the owner alone, whoever asks.
      [['slot.exec', { slot: 'work', grants: {} }], 'owner'],
      [['slot.swap', { slot: 'work', persona: 'b', dryRun }], 'root', 'owner'],
      [['slot.rollback', { slot: 'work', base: true, dryRun }], 'root', 'owner'],
      [['slot.rm', { slot: 'work', discard: true, dryRun }], 'root', 'owner'],
      [['slot.create', { name: 'mine', dryRun }], 'root', 'owner', 'other'],
      [['slot.create', { name: 'gift', owner: 1, dryRun }], 'root'],
      [['persona.verify', { persona: 'a', dryRun }], 'root', 'owner', 'other'],
      [['persona.export', { persona: 'a' }], 'root'],
      [['persona.rm', { persona: 'unused', dryRun }], 'root'],
      [['base.rm', { base: 'other', dryRun }], 'root'],
      [['base.import', { name: 'x', source: path('base'), dryRun }], 'root'],
      [['base.import', { name: 'x', source: { kind: 'host' }, dryRun }], 'root'],
      [['persona.create', { name: 'x', base: 'base', tree: path('a'), dryRun }], 'root'],
      [['bulk.open', { direction: 'up' }], 'root', 'owner', 'other'],
      [['system.gc', { dryRun }], 'root'],
      [['change.show', { change: 1 }], 'root'],
    ];
    const callers = { root: 'root', ...accounts };
    for (const [caller, user] of Object.entries(callers)) {
      const stdin = JSON.stringify(rows.map(([call]) => call));
      const options = { stdin, user, deadlineMs: slowMs };
      const codes = await answerOf<string[]>(vm(), program('calls'), options);
      const line = ([[method, params]]: (typeof rows)[number], code: string) =>
        `${method} ${JSON.stringify(params)}: ${code}`;
      t.deepEqual(
        rows.map((row, at) => line(row, codes[at] ?? '')),
        rows.map((row) => {
          const [, ...may] = row;
          return line(row, may.includes(caller as 'root') ? 'ok' : 'permission-denied');
        }),
        caller,
      );
    }
    const may = async (user: string, ...words: string[]) =>
      (await vm().run(words, { user })).status === 0;
    t.true(await may(accounts.owner, 'cat', `${slotTree}/etc/name`));
    for (const user of [accounts.other, accounts.user]) {
      t.false(await may(user, 'cat', `${slotTree}/etc/name`), user);
      t.false(await may(user, 'ls', '/run/persona/slots'), user);
    }
    t.false(await may(accounts.owner, 'touch', `${slotTree}/etc/new`));
    t.is(await vm().must('stat -c "%a %U:%G" /run/persona/control.sock'), '660 root:persona\n');
    t.is(await vm().must('stat -c "%a %U:%G" /run/persona/user.sock'), '666 root:root\n');
  },
);

scenario('a program in the slot is its owner, sealed off', async (t) => {
  const inside = (words: string) => tool(vm(), `exec work -- ${words}`, accounts.owner);
  t.is(await inside('cat /etc/name'), 'a');
  const uid = (await vm().must(`id -u ${accounts.owner}`)).trim();
  t.is((await inside('id -u')).trim(), uid);
  t.false((await inside('ls /run')).includes('persona'));
  t.not(
    (
      await vm().run(`personactl exec work -- cat /etc/shadow`, {
        user: accounts.owner,
        deadlineMs: slowMs,
      })
    ).status,
    0,
  );
  // Root's own slot: root inside, and nobody outside.
  await tool(vm(), 'slot create roots && personactl swap roots b');
  t.regex(
    await tool(vm(), 'exec roots -- cat /proc/self/uid_map /etc/name'),
    /^ *0 +[1-9]\d+ +65536\nb$/,
  );
  await tool(vm(), 'slot rm roots --discard');
});

scenario('a reboot brings the slot back, with what was written in it', async (t) => {
  await vm().must(`echo again > ${slotTree}/etc/again`);
  await vm().reboot();
  t.is(await vm().must(`systemctl is-active ${unit}`), 'active\n');
  t.is(
    await vm().must(`cat ${slotTree}/etc/name ${slotTree}/etc/written ${slotTree}/etc/again`),
    'akept\nagain\n',
  );
  await tool(vm(), 'rollback work --to 2', accounts.owner);
  t.is(await vm().must(`cat ${slotTree}/etc/name`), 'b');
  await tool(vm(), 'swap work a', accounts.owner);
  t.is(await vm().must(`cat ${slotTree}/etc/again`), 'again\n');
  await expectNoRemains(t, vm(), 1);
});
