import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { when } from '../support/needs.ts';
import { builtPackage } from '../support/package.ts';
import { daemon, smallState } from './by-hand.ts';
import { tracesOf } from './machine-state.ts';
import { type PlainDebian, plainDebian, plainMachine, plainNeeds } from './plain-debian.ts';

const scripts = join(import.meta.dirname, '../../scripts');

/** A machine with the two scripts and the package. */
async function machineWithScripts(t: ExecutionContext, size?: string): Promise<PlainDebian> {
  const machine = await plainDebian(t, 'trixie', size);
  for (const name of ['install', 'uninstall']) machine.copyIn(join(scripts, name), `/tmp/${name}`);
  machine.copyIn(await builtPackage(), '/tmp/personad.deb');
  return machine;
}

const install = ['/tmp/install', '/tmp/personad.deb'];

when(test, plainNeeds)('install and uninstall, each twice, and purge', async (t) => {
  const machine = await machineWithScripts(t);
  const before = await tracesOf(machine);
  t.is(await machine.ok('/tmp/uninstall'), 'personad is not installed.\n');
  for (const time of ['first', 'second']) {
    const said = await machine.ok(...install);
    t.regex(said, /start the daemon by hand/, time);
    t.regex(said, /^personad \S+ is installed\.$/m, time);
  }
  machine.write('/etc/persona/persona.toml', '# mine\n');
  t.regex(await machine.ok('/tmp/uninstall'), /^Kept: \/etc\/persona$/m);
  t.regex(await machine.ok('/tmp/uninstall'), /its data is still here\.\nKept: /);
  t.is(machine.read('/etc/persona/persona.toml'), '# mine\n');
  await machine.ok('/tmp/uninstall', '--purge');
  t.deepEqual(await tracesOf(machine), before);
  t.is(await machine.ok('/tmp/uninstall', '--purge'), 'personad is not installed.\n');
});

when(test, plainNeeds)(
  'install repairs a broken installation, uninstall removes one',
  async (t) => {
    const machine = await machineWithScripts(t);
    const before = await tracesOf(machine);
    await machine.ok(...install);
    // As dpkg leaves it when it was ended in the middle of unpacking.
    const broken = `rm -r /usr/lib/personad/dist /usr/lib/personad/node
    sed -i '/^Package: personad$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status`;
    await machine.ok('sh', '-c', broken);
    await machine.ok(...install);
    t.is(await machine.ok('dpkg', '--verify', 'personad'), '');
    await machine.ok('sh', '-c', broken);
    await machine.ok('/tmp/uninstall', '--purge');
    t.deepEqual(await tracesOf(machine), before);
  },
);

when(test, plainNeeds)('install says what is in the way, and changes nothing', async (t) => {
  const machine = await machineWithScripts(t, '128M');
  const before = await tracesOf(machine);
  const refused: [string[], number, RegExp][] = [
    [install, 1, /install: \d+ KiB are needed in \/usr\/lib and \d+ KiB are free/],
    [['setpriv', '--reuid=1234', '--clear-groups', ...install], 1, /install: run as root/],
    [['setpriv', '--reuid=1234', '--clear-groups', '/tmp/uninstall'], 1, /uninstall: run as root/],
    [['/tmp/install', '/tmp/nothing.deb'], 1, /install: there is no file \/tmp\/nothing\.deb/],
    [['/tmp/install', '/tmp/uninstall'], 1, /\/tmp\/uninstall is not a package of personad/],
    [['/tmp/install', '--force'], 2, /^usage: /],
    [['/tmp/uninstall', '--all'], 2, /^usage: /],
  ];
  for (const [argv, status, text] of refused) {
    const ran = await machine.run(...argv);
    t.is(ran.status, status, ran.text);
    t.regex(ran.text, text);
  }
  t.deepEqual(await tracesOf(machine), before);
});

when(test, plainNeeds)('uninstall works on a disk without a free byte', async (t) => {
  const machine = await machineWithScripts(t, '500M');
  const before = await tracesOf(machine);
  await machine.ok(...install);
  machine.write('/etc/persona/persona.toml', smallState);
  await machine.start(/"ready"/, ...daemon);
  await machine.run('sh', '-c', 'cat /dev/zero >/root/full; cat /dev/zero >/root/rest');
  const purge = await machine.run('dpkg', '--purge', 'personad');
  t.regex(purge.text, /No space left on device/, 'dpkg alone cannot do it');
  await machine.ok('/tmp/uninstall', '--purge');
  t.deepEqual(await tracesOf(machine), before);
});

/** Why this machine cannot stand in for one on which the checkout is installed. */
function notOnRoot(): string | undefined {
  if (statSync(scripts).dev !== statSync('/').dev)
    return 'the checkout is not on the file system of /';
  return /^\/(tmp|run|dev)\//.test(scripts) ? 'the machine has a /tmp of its own' : undefined;
}

const checkoutNeeds = {
  root: true,
  tools: ['setpriv', 'unshare', 'nsenter', 'dpkg', 'npm'],
  other: notOnRoot,
};

when(test, checkoutNeeds)('install builds and installs this checkout', async (t) => {
  // The machine of the tests itself, with a disk of its own on top.
  const machine = await plainMachine(t, '/', '3G');
  const said = await machine.ok(join(scripts, 'install'));
  t.regex(said, /^personad \S+ is installed\.$/m);
  t.is(await machine.ok('dpkg', '--verify', 'personad'), '');
  await machine.ok('/usr/bin/personactl', 'version');
  await machine.ok(join(scripts, 'uninstall'), '--purge');
});

test('the scripts are whole', (t) => {
  for (const name of ['install', 'uninstall'])
    t.is(spawnSync('bash', ['-n', join(scripts, name)], { encoding: 'utf8' }).stderr, '');
});
