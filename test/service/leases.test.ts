import { fileURLToPath } from 'node:url';
import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { bootInstalled, type Installed, needs } from './installed.ts';
import { putProgram } from './unit-program.ts';

// Knobs that a killed service has leased: given back by the guard alone. Nothing else is left that could.

const scope = longScope();
let machine: Installed;
const place = '/usr/lib/personad/dist/leasing.mjs';
const groups = ['a', 'b', 'c'];
const knob = (group: string) => `/run/knobs/${group}/memory.low`;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, { suite: 'trixie' });
    await putProgram(machine, fileURLToPath(new URL('leasing-daemon.ts', import.meta.url)), place);
    for (const group of groups) {
      await machine.ok(['mkdir', '-p', `/run/knobs/${group}`]);
      machine.write(knob(group), '0\n');
    }
    machine.write(
      '/etc/systemd/system/personad.service.d/leasing.conf',
      `[Service]
Type=exec
ExecStart=
ExecStart=/usr/lib/personad/node --no-warnings ${place} /run/knobs ${groups.join(' ')}
ExecStopPost=
Restart=no
WatchdogSec=0
`,
    );
    await machine.ok(['systemctl', 'daemon-reload']);
  });
  test.after.always(() => scope.end());
}

const guards = async () =>
  (
    await machine.ok([
      ...['systemctl', 'list-units', '--all', '--plain', '--no-legend'],
      'personad-guard-*.scope',
    ])
  )
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ')[0] ?? '');
const values = () => Promise.all(groups.map((group) => machine.ok(['cat', knob(group)])));

when(test, needs)(
  'a guard in a unit of its own gives back what a killed service has leased',
  async (t) => {
    for (let kill = 1; kill <= 3; kill += 1) {
      await machine.ok(['systemctl', 'restart', 'personad.service']);
      await machine.until('all is leased', async () =>
        (await values()).every((value) => value === '8192'),
      );
      const [unit = '', ...more] = await guards();
      t.deepEqual(more, []);
      await machine.untilLogged(
        'personad.service',
        new RegExp(`(leased 3, problem: none[^]*){${kill}}`),
      );
      t.is(await machine.property(unit, 'ControlGroup'), `/personad.slice/${unit}`);
      await machine.crash();
      await machine.until('all is given back', async () =>
        (await values()).every((value) => value === '0'),
      );
      await machine.until('the guard has ended', async () => (await guards()).length === 0);
      // What follows in a service that was installed: it ends the leases.
      await machine.ok([
        '/usr/lib/personad/node',
        '/usr/lib/personad/dist/personad.mjs',
        '--restore',
      ]);
    }
    await machine.ok(['systemctl', 'restart', 'personad.service']);
    await machine.until('all is leased', async () =>
      (await values()).every((value) => value === '8192'),
    );
    await machine.ok(['systemctl', 'kill', '--signal=KILL', '--kill-whom=all', 'personad.service']);
    await machine.until('all is given back', async () =>
      (await values()).every((value) => value === '0'),
    );
  },
);
