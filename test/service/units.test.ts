import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { bootInstalled, type Installed, needs } from './installed.ts';

// The units, as the package installs and systemd runs them.

const suites = ['bookworm', 'trixie'] as const;
const unit = 'personad.service';
const sockets = ['personad-user.socket', 'personad-control.socket'];
/** `systemd-analyze security`: what the unit may be exposed at most. */
const exposureMax = 5.3;

const scope = longScope();
const machines = new Map<string, Installed>();
const on = (suite: string): Installed => {
  const machine = machines.get(suite);
  if (machine === undefined) throw new Error(`no machine with ${suite}`);
  return machine;
};
if (lacking(needs) === undefined) {
  test.before(async () => {
    for (const suite of suites) machines.set(suite, await bootInstalled(scope, { suite }));
  });
  test.after.always(() => scope.end());
}

const readme = readFileSync(new URL('../../systemd/README.md', import.meta.url), 'utf8');
const service = readFileSync(new URL('../../systemd/personad.service', import.meta.url), 'utf8');

/** What `systemd-analyze security` finds missing, in words that the README has to explain. */
function exposed(text: string): string[] {
  const found = [...text.matchAll(/^✗ (\S+)/gm)].flatMap(([, one = '']) => {
    if (!one.startsWith('CapabilityBoundingSet='))
      return one.startsWith('SystemCallFilter=')
        ? [one]
        : one.split('/').map((part) => part.replace(/~.*$/, ''));
    return service.match(/\bCAP_[A-Z_]+/g) ?? [];
  });
  return [...new Set(found)];
}

/** Inode, mode, owner, group. */
const socketFacts = (machine: Installed) =>
  machine.ok([
    'stat',
    '--format=%n %i %a %U:%G',
    '/run/persona/user.sock',
    '/run/persona/control.sock',
  ]);

async function expectUp(t: ExecutionContext, machine: Installed): Promise<void> {
  t.is(await machine.property(unit, 'StatusText'), 'ready');
  t.is(await machine.property(unit, 'NRestarts'), '0');
  for (const one of [unit, ...sockets]) {
    t.is(await machine.property(one, 'ActiveState'), 'active', one);
    t.is(await machine.property(one, 'UnitFileState'), 'enabled', one);
  }
  const [user = '', control = ''] = (await socketFacts(machine)).split('\n');
  t.regex(user, /^\/run\/persona\/user\.sock \d+ 666 root:root$/);
  t.regex(control, /^\/run\/persona\/control\.sock \d+ 660 root:persona$/);
}

for (const suite of suites) {
  when(test, needs)(`${suite}: units are valid, up, enabled, and the daemon says so`, async (t) => {
    const machine = on(suite);
    await expectUp(t, machine);
    const files = ['service', 'slice'].map((kind) => `/usr/lib/systemd/system/personad.${kind}`);
    const verify = await machine.ok(['systemd-analyze', 'verify', '--man=no', ...files]);
    t.is(verify, '');
    await machine.kill();
    await machine.start();
    await expectUp(t, machine);
  });

  when(test, needs)(`${suite}: the daemon is hardened, and in the host's namespace`, async (t) => {
    const machine = on(suite);
    const pid = await machine.daemonPid();
    const text = await machine.ok(['systemd-analyze', 'security', '--no-pager', unit]);
    const [, exposure = ''] = /exposure level for \S+: ([\d.]+)/.exec(text) ?? [];
    const version = (await machine.ok(['systemctl', '--version'])).split('\n')[0];
    t.log(`${version}: exposure ${exposure} of at most ${exposureMax}`);
    t.true(Number(exposure) > 0 && Number(exposure) <= exposureMax, text);
    for (const word of exposed(text))
      t.true(readme.includes(word), `README.md is silent on ${word}`);
    for (const space of ['mnt', 'user', 'pid', 'cgroup', 'ipc']) {
      const [own, first] = await Promise.all(
        [pid, 1].map((one) => machine.ok(['readlink', `/proc/${one}/ns/${space}`])),
      );
      t.is(own, first, `${space} namespace`);
    }
    const status = await machine.ok(['cat', `/proc/${pid}/status`]);
    t.regex(status, /^NoNewPrivs:\t1$/m);
    t.regex(status, /^Seccomp:\t2$/m);
    t.regex(status, /^Umask:\t0077$/m);
    const slice = await machine.ok(['cat', `/proc/${pid}/cgroup`]);
    t.regex(slice, /^0::\/personad\.slice\/personad\.service\/daemon$/m);
  });

  // SECURITY 32: what an administrator put into the manager's environment stays outside.
  when(test, needs)(
    `${suite}: no variable of the manager makes the daemon load code`,
    async (t) => {
      const machine = on(suite);
      const variables = {
        NODE_OPTIONS: '--require=/nowhere.js',
        NODE_PATH: '/nowhere',
        PERSONA_ROOT: '/srv/elsewhere',
        LD_PRELOAD: '/nowhere.so',
      };
      const words = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
      await machine.ok(['systemctl', 'set-environment', ...words]);
      await machine.ok(['systemctl', 'restart', unit]);
      t.is(await machine.property(unit, 'StatusText'), 'ready');
      const pid = await machine.daemonPid();
      const environment = await machine.ok(['cat', `/proc/${pid}/environ`]);
      t.false(/NODE_|PERSONA_ROOT|LD_/.test(environment), environment);
      await machine.ok(['systemctl', 'unset-environment', ...Object.keys(variables)]);
    },
  );

  when(test, needs)(`${suite}: sockets keep inode, mode and queue over a restart`, async (t) => {
    const machine = on(suite);
    const before = await socketFacts(machine);
    await machine.ok(['systemctl', 'restart', unit]);
    t.is(await socketFacts(machine), before);
    await machine.ok(['systemctl', 'stop', unit]);
    t.is(await socketFacts(machine), before, 'they stay while no daemon runs');
    // Who asks meanwhile waits for the daemon that its question starts.
    const { status } = await machine.run(['personactl', 'status']);
    t.is(status, 0);
    t.is(await machine.property(unit, 'ActiveState'), 'active');
    t.is(await socketFacts(machine), before);
    const pid = await machine.daemonPid();
    await machine.crash();
    await machine.untilReady(pid);
    t.is(await socketFacts(machine), before);
    await machine.ok(['systemctl', 'stop', unit, ...sockets]);
    const left = await machine.run(['ls', '/run/persona/user.sock', '/run/persona/control.sock']);
    t.is(left.stdout, '', 'without their units they are gone');
    await machine.ok(['systemctl', 'reset-failed', unit]);
    await machine.ok(['systemctl', 'start', unit]);
    await machine.tool(['status']);
  });

  when(test, needs)(`${suite}: whose programs systemd-oomd is to end is asked of it`, async (t) => {
    const machine = on(suite);
    const side = 'user.slice';
    const told = async () => {
      const { value } = await machine.asked(['partitions', 'show']);
      const { remarks } = value as { remarks: string[] };
      return remarks.filter((one) => one.startsWith('systemd-oomd is to end programs of '));
    };
    const settings = ['ManagedOOMMemoryPressure=kill', 'ManagedOOMMemoryPressureLimit=42%'];
    await machine.ok(['systemctl', 'set-property', '--runtime', side, ...settings]);
    let remarks: string[] = [];
    await machine.until('it is told', async () => {
      remarks = await told();
      return remarks.length > 0;
    });
    t.is(remarks.length, 1, 'the other side has no such setting');
    t.regex(
      remarks[0] ?? '',
      /programs of user\.slice .*\(ManagedOOMMemoryPressure=kill, limit 42 %\)/,
    );
    await machine.ok(['systemctl', 'revert', side]);
  });

  when(test, needs)(`${suite}: the journal has its log with priorities`, async (t) => {
    const machine = on(suite);
    machine.write('/etc/persona/conf.d/level.toml', '[daemon]\nlog_level = "debug"\n');
    await machine.ok(['systemctl', 'restart', unit]);
    const pid = String(await machine.daemonPid());
    await machine.untilLogged(unit, new RegExp(`\\[${pid}\\]: .*"msg":"ready"`));
    const lines = (await machine.log(unit, '--output', 'json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string; _PID: string });
    const own = lines.filter((line) => line._PID === pid);
    const ready = own.find(({ MESSAGE }) => MESSAGE.includes('"msg":"ready"'));
    t.is(ready?.PRIORITY, '6');
    const setting = own.find(({ MESSAGE }) => MESSAGE.includes('daemon.log_level'));
    t.is(setting?.PRIORITY, '6');
    const debug = own.find(({ MESSAGE }) => MESSAGE.includes('the group of this service'));
    t.is(debug?.PRIORITY, '7');
    t.true(own.every(({ MESSAGE }) => !/^<\d>/.test(MESSAGE)));
  });
}
