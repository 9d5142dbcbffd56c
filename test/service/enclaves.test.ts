import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { lacking, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs } from './installed.ts';

// Enclaves of the installed service: what is closed before the machine sleeps, and keys that the service manager keeps. Nothing sleeps
// here: a service stands for the one that would put the machine to sleep.

const all = {
  ...needs,
  tools: [...needs.tools, ...fscryptNeeds.tools],
  other: () => needs.other() ?? fscryptNeeds.other(),
};
const unit = 'personad-sleep.service';
const place = '/run/persona/enclaves/vault';
/** As systemd-suspend.service is ordered; it writes down what is mounted when it would be too late. */
const sleeper = `[Unit]
Requires=sleep.target
After=sleep.target
[Service]
Type=oneshot
ExecStart=/usr/bin/cp /proc/self/mountinfo /root/asleep
`;

const scope = longScope();
let machine: Installed;
if (lacking(all) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, {
      suite: 'trixie',
      files: { '/etc/systemd/system/sleeper.service': sleeper },
    });
    machine.write('/root/key', 'the key of the test');
    await machine.ok(['chown', 'owner', '/root']);
    await enclave('create', '--size', '16M', '--key-file', '/root/key');
  });
  test.after.always(() => scope.end());
}

async function enclave(verb: string, ...rest: string[]): Promise<string> {
  return await machine.tool(['enclave', verb, 'vault', ...rest], as(machine, 'owner'));
}

const isOpen = async () => /state +open/.test(await enclave('show'));

/** Whether the enclave was there when the machine would have slept. */
async function openAsleep(): Promise<boolean> {
  await machine.ok(['systemctl', 'start', 'sleeper.service']);
  return (await machine.ok(['cat', '/root/asleep'])).includes(` ${place} `);
}

when(test, all)('only what asked for it is closed, whatever became of the daemon', async (t) => {
  t.is(await machine.property(unit, 'UnitFileState'), 'enabled');
  t.is(
    await machine.ok(['systemd-analyze', 'verify', '--man=no', `/usr/lib/systemd/system/${unit}`]),
    '',
  );
  t.is(
    await machine.property(unit, 'ActiveState'),
    'inactive',
    'the installation does not start it',
  );
  await enclave('open', '--key-file', '/root/key');
  t.true(await openAsleep());
  t.regex(await enclave('show'), /sleep +does not close it: an open/);
  await enclave('close');
  for (const between of ['nothing', 'restart', 'crash', 'stop'] as const) {
    await enclave('open', '--key-file', '/root/key', '--close-on-suspend');
    t.regex(await enclave('show'), /sleep +closes it/);
    const pid = await machine.daemonPid();
    if (between === 'crash') await machine.crash();
    else if (between !== 'nothing') await machine.ok(['systemctl', between, 'personad.service']);
    if (between === 'crash') await machine.untilReady(pid);
    t.false(await openAsleep(), between);
    t.false(await isOpen());
  }
  await machine.untilLogged(unit, /Enclave vault is closed\./);
});

when(test, all)(
  'a program inside does not keep it open, and a daemon that hangs does not keep the machine awake',
  async (t) => {
    await enclave('open', '--key-file', '/root/key', '--close-on-suspend');
    machine.write(`${place}/note`, 'x');
    await machine.ok(['systemd-run', '--unit=inside', 'tail', '-f', `${place}/note`]);
    await machine.until('it is inside', async () => /inside +/.test(await enclave('show')));
    t.false(await openAsleep());
    await machine.untilLogged(unit, /is closed; a program still holds a file of it/);
    await machine.ok(['systemctl', 'stop', 'inside.service']);
    await enclave('open', '--key-file', '/root/key', '--close-on-suspend');
    await machine.ok([
      'systemctl',
      'kill',
      '--signal=STOP',
      '--kill-whom=main',
      'personad.service',
    ]);
    t.true(await openAsleep());
    t.is(await machine.property(unit, 'Result'), 'exit-code');
    await machine.ok([
      'systemctl',
      'kill',
      '--signal=CONT',
      '--kill-whom=main',
      'personad.service',
    ]);
    await machine.until('the daemon goes on closing it', async () => !(await isOpen()));
  },
);

when(test, all)('a credential of the service opens an enclave, for root alone', async (t) => {
  // As PID 1 makes it outside of containers: else what it mounts there for a service stays its child's.
  await machine.ok(['mount', '--make-rshared', '/run']);
  const file = '/root/sealed';
  await machine.ok([
    'systemd-creds',
    'encrypt',
    '--with-key=host',
    '--name=sealed',
    '/root/key',
    file,
  ]);
  const dropIn = '/etc/systemd/system/personad.service.d/credentials.conf';
  machine.write(
    dropIn,
    `[Service]\nLoadCredential=plain:/root/key\nLoadCredentialEncrypted=sealed:${file}\n`,
  );
  await machine.ok(['systemctl', 'daemon-reload']);
  await machine.ok(['systemctl', 'restart', 'personad.service']);
  const [own, first] = await Promise.all(
    [await machine.daemonPid(), 1].map((pid) => machine.ok(['readlink', `/proc/${pid}/ns/mnt`])),
  );
  t.is(own, first, 'slots still appear in the namespace of PID 1');
  await machine.tool(['enclave', 'create', 'db', '--size', '16M', '--credential', 'sealed']);
  for (const name of ['sealed', 'plain']) {
    await machine.tool(['enclave', 'open', 'db', '--credential', name]);
    t.regex(await machine.tool(['enclave', 'show', 'db']), /state +open/);
    await machine.tool(['enclave', 'close', 'db']);
  }
  t.regex(await machine.tool(['enclave', 'show', 'db']), /of credential sealed, which the service/);
  // Bytes of the key, not of what seals them: the vault of `owner` has the same.
  for (const verb of [
    ['open', 'vault'],
    ['create', 'mine', '--size', '16M'],
  ]) {
    const words = ['personactl', 'enclave', ...verb, '--credential', 'plain'];
    const { status, stderr } = await machine.run(words, as(machine, 'owner'));
    t.is(status, 5, stderr);
    t.regex(stderr, /only root may use a credential/);
  }
  await machine.ok(['rm', dropIn]);
  await machine.ok(['systemctl', 'daemon-reload']);
  await machine.ok(['systemctl', 'restart', 'personad.service']);
  const without = await machine.run([
    'personactl',
    'enclave',
    'open',
    'db',
    '--credential',
    'plain',
  ]);
  t.is(without.status, 1);
  t.regex(without.stderr, /the service was given no credentials/);
});
