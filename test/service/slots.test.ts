import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, run, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, populate, slotTree } from './installed.ts';

// Slots under the installed unit: made by its filtered children, seen by the whole machine, and not its prisoners.

const suites = ['bookworm', 'trixie'] as const;
const unit = 'personad.service';

const scope = longScope();
const machines = new Map<string, Installed>();
const on = (suite: string): Installed => {
  const machine = machines.get(suite);
  if (machine === undefined) throw new Error(`no machine with ${suite}`);
  return machine;
};
if (lacking(needs) === undefined) {
  test.before(async () => {
    for (const suite of suites) {
      const machine = await bootInstalled(scope, {
        suite,
        files: { '/etc/systemd/journald.conf.d/kept.conf': '[Journal]\nStorage=persistent\n' },
      });
      machines.set(suite, machine);
      await populate(machine);
    }
  });
  test.after.always(() => scope.end());
}

const nameIn = (machine: Installed) => machine.ok(['cat', `${slotTree}/etc/name`]);
/** Which superblock the slot shows. */
const shown = (machine: Installed) => machine.ok(['stat', '--format=%d %i', slotTree]);

/** The last entry of the journal. */
async function lastOf(machine: Installed): Promise<{ cursor: string }> {
  const text = await machine.ok(['journalctl', '--lines=1', '--output=json']);
  return { cursor: (JSON.parse(text) as { __CURSOR: string }).__CURSOR };
}

/** Nothing is left of work that is over: processes, groups, loop devices, temporary files, staging. */
async function expectNoRemains(t: ExecutionContext, machine: Installed): Promise<void> {
  const pid = await machine.daemonPid();
  const group = '/sys/fs/cgroup/personad.slice/personad.service';
  const listed = await machine.ok([
    'find',
    group,
    '-name',
    'cgroup.procs',
    '-exec',
    'cat',
    '{}',
    '+',
  ]);
  t.is(listed.trim(), String(pid), 'the daemon is alone in its group');
  const groups = await machine.ok(['find', '/sys/fs/cgroup', '-type', 'd', '-name', '*-[0-9]*-*']);
  t.false(/confined|walker|caller|personad-children/.test(groups), groups);
  t.is(await machine.ok(['find', '/var/lib/persona/staging', '-mindepth', '1']), '');
  t.is(await machine.ok(['find', '/tmp', '/var/tmp', '-name', 'personad*']), '');
  const loops = readdirSync('/sys/block').filter((name) => {
    try {
      const file = readFileSync(join('/sys/block', name, 'loop/backing_file'), 'utf8');
      return file.includes(machine.place);
    } catch {
      return false;
    }
  });
  t.deepEqual(loops, []);
}

for (const suite of suites) {
  when(test, needs)(`${suite}: a slot is seen by PID 1 and used by its owner`, async (t) => {
    const machine = on(suite);
    t.is(await nameIn(machine), 'a');
    t.regex(
      await machine.ok(['cat', '/proc/1/mountinfo']),
      / \/run\/persona\/slots\/work\/root .*nosuid,nodev/,
    );
    const owner = as(machine, 'owner');
    const inside = ['exec', 'work', '--', 'cat', '/etc/name'];
    t.is(await machine.tool(inside, owner), 'a');
    t.is(await machine.tool(['exec', 'work', '--', 'id', '-u'], owner), '2001\n');
    await machine.tool(['slot', 'create', 'roots']);
    await machine.tool(['swap', 'roots', 'b']);
    t.is(await machine.tool(['exec', 'roots', '--', 'cat', '/etc/name']), 'b');
    t.is(await machine.tool(['exec', 'roots', '--', 'id', '-u']), '0\n');
    // A member sends its trees itself.
    await machine.ok(['cp', '-r', '/srv/b', '/home/other/b']);
    await machine.ok(['chown', '-R', 'other', '/home/other/b']);
    const other = as(machine, 'other');
    await machine.tool(['base', 'import', 'small', '--from', '/home/other/b/etc'], other);
    await machine.tool(
      ['persona', 'create', 'c', '--base', 'base', '--from-tree', '/home/other/b'],
      other,
    );
    await machine.tool(['slot', 'create', 'others'], other);
    await machine.tool(['swap', 'others', 'c'], other);
    t.is(await machine.tool(['exec', 'others', '--', 'cat', '/etc/name'], other), 'b');
    await expectNoRemains(t, machine);
  });

  // The kernel writes uppers with the rights that the daemon had when it made the mount.
  when(test, needs)(`${suite}: root writes into a slot whatever a package brings`, async (t) => {
    const machine = on(suite);
    const etc = `${slotTree}/etc`;
    machine.write(`${etc}/file`, 'x');
    for (const argv of [
      ['chown', '2001:2001', `${etc}/file`],
      ['chmod', '640', `${etc}/file`],
      ['chattr', '+i', `${etc}/file`],
      ['chattr', '-i', `${etc}/file`],
      ['mkdir', `${etc}/d`],
      ['chgrp', '2001', `${etc}/d`],
      ['chmod', '2755', `${etc}/d`],
      ['touch', `${etc}/d/inherits`],
      ['cp', '/usr/bin/id', `${etc}/suid`],
      ['chgrp', '2001', `${etc}/suid`],
      ['chmod', '6755', `${etc}/suid`],
      ['mknod', `${etc}/node`, 'c', '1', '3'],
      ['rm', `${etc}/name`],
    ])
      await machine.ok(argv);
    const named = ['file', 'd', 'd/inherits', 'suid', 'node'].map((name) => `${etc}/${name}`);
    const facts = (await machine.ok(['stat', '--format=%a %u:%g %F', ...named])).split('\n');
    t.deepEqual(facts.slice(0, -1), [
      '640 2001:2001 regular file',
      '2755 0:2001 directory',
      '644 0:2001 regular empty file',
      '6755 0:2001 regular file',
      '644 0:0 character special file',
    ]);
    const outside = `/proc/${machine.pid()}/root${etc}/suid`;
    run('setcap', 'cap_net_raw+ep', outside);
    t.regex(run('getcap', outside), /cap_net_raw=ep/);
    await machine.tool(['rollback', 'work', '--base'], as(machine, 'owner'));
    await machine.tool(['swap', 'work', 'a', '--fresh'], as(machine, 'owner'));
    t.is(await nameIn(machine), 'a');
  });

  when(test, needs)(`${suite}: slots outlive a restart and a crash of the daemon`, async (t) => {
    const machine = on(suite);
    machine.write(join(slotTree, 'etc/written'), 'kept');
    const before = await shown(machine);
    const program = machine.spawn(['sh', '-c', `cd ${slotTree} && echo in && exec sleep 1000`]);
    await new Promise((resolve) => program.stdout?.once('data', resolve));
    await machine.ok(['systemctl', 'restart', unit]);
    t.is(await shown(machine), before, 'the very same tree');
    const pid = await machine.daemonPid();
    await machine.crash();
    await machine.untilReady(pid);
    t.is(await machine.property(unit, 'NRestarts'), '1');
    t.is(await shown(machine), before);
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    t.is(program.exitCode ?? program.signalCode, null, 'what ran in it runs on');
    program.kill('SIGKILL');
    await machine.tool(['swap', 'work', 'b'], as(machine, 'owner'));
    await machine.tool(['swap', 'work', 'a'], as(machine, 'owner'));
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    await expectNoRemains(t, machine);
  });

  when(test, needs)(`${suite}: a crash in the middle of an import leaves nothing`, async (t) => {
    const machine = on(suite);
    const before = await shown(machine);
    const group = '/sys/fs/cgroup/personad.slice/personad.service/children';
    await machine.tool(['base', 'import', 'large', '--from', '/usr', '--no-wait']);
    await machine.until('a confined child works', async () => {
      const { stdout } = await machine.run(['find', group, '-name', 'confined-*']);
      return stdout !== '';
    });
    const pid = await machine.daemonPid();
    await machine.crash();
    await machine.untilReady(pid);
    const { value } = await machine.asked(['change', 'list']);
    t.deepEqual((value as { changes: unknown[] }).changes, [], 'nothing is left unfinished');
    t.is((await machine.asked(['base', 'show', 'large'])).status, 4);
    t.is(await shown(machine), before);
    await expectNoRemains(t, machine);
  });

  when(test, needs)(`${suite}: after the end of PID 1 everything comes back`, async (t) => {
    const machine = on(suite);
    await machine.kill();
    await machine.start();
    await machine.untilReady();
    t.is(await nameIn(machine), 'a');
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    t.is(await machine.tool(['exec', 'work', '--', 'cat', '/etc/name'], as(machine, 'owner')), 'a');
    const { value } = await machine.asked(['doctor']);
    const { checks } = value as { checks: { id: string; state: string }[] };
    t.is(checks[0]?.state, 'ok', JSON.stringify(checks[0]));
    await expectNoRemains(t, machine);
  });

  when(test, needs)(
    `${suite}: an orderly stop takes slots off before what carries them`,
    async (t) => {
      const machine = on(suite);
      await machine.ok(['journalctl', '--flush']);
      // PID 1 looks at many new mounts once per second.
      await machine.until('PID 1 knows the slot', async () => {
        const state = await machine.property('run-persona-slots-work-root.mount', 'ActiveState');
        return state === 'active';
      });
      const { cursor } = await lastOf(machine);
      await machine.stop();
      await machine.start();
      await machine.untilReady();
      const log = await machine.ok(['journalctl', '--no-pager', '--after-cursor', cursor]);
      t.regex(log, /Unmounted run-persona-slots-work-root\.mount/);
      t.regex(log, /Unmounted var-lib-persona\.mount/);
      t.false(log.includes('Failed unmounting'), log);
      t.is(await nameIn(machine), 'a');
      t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    },
  );

  when(test, needs)(`${suite}: a restore starts the daemon anew, and nothing failed`, async (t) => {
    const machine = on(suite);
    const owner = as(machine, 'owner');
    await machine.tool(['backup', '/root/desk.backup']);
    await machine.tool(['swap', 'work', 'b'], owner);
    const { cursor } = await lastOf(machine);
    const pid = await machine.daemonPid();
    await machine.tool(['restore', '/root/desk.backup', '--replace', '--end-slots']);
    t.not(await machine.daemonPid(), pid);
    t.is(await nameIn(machine), 'a');
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    let log = '';
    await machine.until('the journal has the restart', async () => {
      log = await machine.ok(['journalctl', '--no-pager', '--after-cursor', cursor]);
      return /personad\.service: Deactivated successfully[\s\S]*"msg":"ready"/.test(log);
    });
    t.false(/Failed with result|entered failed state/.test(log), log);
    await machine.tool(['swap', 'work', 'b'], owner);
    await machine.tool(['swap', 'work', 'a'], owner);
    await expectNoRemains(t, machine);
  });

  when(test, needs)(`${suite}: services with private mounts see every swap`, async (t) => {
    const machine = on(suite);
    const script = `while :; do cat ${slotTree}/etc/name > /run/$0.new && mv /run/$0.new /run/$0; sleep 0.02; done`;
    const kinds = {
      tmp: 'PrivateTmp=yes',
      strict: 'ProtectSystem=strict',
      mounts: 'PrivateMounts=yes',
    };
    for (const [name, property] of Object.entries(kinds)) {
      const write = name === 'strict' ? ['--property=ReadWritePaths=/run'] : [];
      await machine.ok([
        'systemd-run',
        `--unit=seen-${name}`,
        `--property=${property}`,
        ...write,
        'sh',
        '-c',
        script,
        `seen-${name}`,
      ]);
    }
    for (const persona of ['b', 'a', 'b', 'a']) {
      await machine.tool(['swap', 'work', persona], as(machine, 'owner'));
      for (const name of Object.keys(kinds))
        await machine.until(`${name} sees ${persona}`, async () => {
          const { stdout } = await machine.run(['cat', `/run/seen-${name}`]);
          return stdout === persona;
        });
    }
    await machine.until('no old tree is pinned', async () => {
      const { value } = await machine.asked(['slot', 'show', 'work']);
      const { slot } = value as { slot: { draining: unknown[] } };
      return slot.draining.length === 0;
    });
    for (const name of Object.keys(kinds)) {
      t.is(await machine.property(`seen-${name}.service`, 'ActiveState'), 'active');
      await machine.ok(['systemctl', 'stop', `seen-${name}`]);
    }
  });
}
