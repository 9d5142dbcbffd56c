import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { when } from '../support/needs.ts';
import { builtPackage } from '../support/package.ts';
import { bootContainer, type Container, containerNeeds } from '../support/systemd-container.ts';
import { altered, migrating, neverReady, next, unloadable } from './altered.ts';
import { type Asked, tracesOf } from './machine-state.ts';
import { seenInSlot, slotTree, useSlot } from './slot-in-use.ts';

const needs = { ...containerNeeds, tools: [...containerNeeds.tools, 'dpkg-deb'] };

const asked = (container: Container): Asked => ({ ok: (...argv) => container.ok(argv) });

/** What shows that it is the same daemon, mount and socket as before. */
interface Seen {
  pid: number;
  version: string;
  mounts: string;
  sockets: string;
}

async function seen(container: Container): Promise<Seen> {
  const { ok } = asked(container);
  const said = await ok('personactl', 'version', '--daemon', '--json');
  const { daemon } = JSON.parse(said) as { daemon: { pid: number; version: string } };
  return {
    pid: daemon.pid,
    version: daemon.version,
    mounts: await ok('grep', '/run/persona/slots/', '/proc/1/mountinfo'),
    sockets: await ok(
      'stat',
      '--format',
      '%n %i',
      '/run/persona/user.sock',
      '/run/persona/control.sock',
    ),
  };
}

/** A program that reads a file of the slot all the time, and tells how often that failed when its input ends. */
function reader(container: Container): { failures(): Promise<string> } {
  const script = `failed=0; read=0
    while ! read -r -t 0; do
      [ "$(<${slotTree}/etc/motd)" = work ] || failed=$((failed + 1))
      read=$((read + 1))
    done
    echo "$failed of $((read > 100 ? 100 : 0)) and more"`;
  const child = container.spawn(['bash', '-c', script]);
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return {
    async failures() {
      child.stdin?.end('end\n');
      await once(child, 'close');
      return said.trim();
    },
  };
}

const folder = mkdtempSync(join(tmpdir(), 'personad-upgrade-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** The package and what may follow it, by name. Made once for both machines. */
let packages: Promise<Record<string, string>> | undefined;

async function makePackages(): Promise<Record<string, string>> {
  const first = await builtPackage();
  return {
    first,
    next: await altered(first, folder, next('99.2.0')),
    unloadable: await altered(first, folder, unloadable('99.3.0')),
    unready: await altered(first, folder, neverReady('99.4.0')),
    migrating: await altered(first, folder, migrating('99.5.0')),
  };
}

async function installed(t: ExecutionContext, suite: 'bookworm' | 'trixie') {
  packages ??= makePackages();
  // Nothing of it must survive a power cut.
  const files = { '/etc/dpkg/dpkg.cfg.d/test': 'force-unsafe-io\n' };
  const container = await bootContainer(t, { suite, files });
  const before = await tracesOf(asked(container));
  for (const [name, file] of Object.entries(await packages))
    container.copyIn(file, `/root/${name}.deb`);
  for (const name of ['install', 'uninstall'])
    container.copyIn(join(import.meta.dirname, '../../scripts', name), `/root/${name}`);
  const { status, stdout, stderr } = await installs(container, 'first');
  t.is(status, 0, stderr);
  t.regex(stdout, /^It runs: try `personactl status`/m);
  await useSlot(asked(container));
  return { container, before };
}

const installs = (container: Container, name: string) =>
  container.run(['/root/install', `/root/${name}.deb`], { deadlineMs: 180_000 });

for (const suite of ['bookworm', 'trixie'] as const) {
  when(test, needs)(
    `${suite}: upgrade, failed upgrades, removal and purge, with a slot in use`,
    async (t) => {
      const { container, before } = await installed(t, suite);
      const machine = asked(container);
      const first = await seen(container);
      const reading = reader(container);

      t.is((await installs(container, 'first')).status, 0);
      const again = await seen(container);
      t.deepEqual({ ...again, pid: 0 }, { ...first, pid: 0 }, 'the same once more');

      t.is((await installs(container, 'next')).status, 0);
      const second = await seen(container);
      t.is(second.version, '99.2.0');
      t.not(second.pid, again.pid);
      t.is(second.mounts, first.mounts, 'the very mounts of before');
      t.is(second.sockets, first.sockets, 'the very sockets of before');

      const unloadable = await installs(container, 'unloadable');
      t.is(unloadable.status, 1);
      t.regex(unloadable.stderr, /the new version does not run, going back to the old one/);
      t.deepEqual(await seen(container), second, 'the daemon was not even restarted');

      const unready = await installs(container, 'unready');
      t.is(unready.status, 1);
      t.regex(unready.stderr, /install: dpkg did not take it, see above; what ran before runs on/);
      const back = await seen(container);
      t.deepEqual({ ...back, pid: 0 }, { ...second, pid: 0 }, 'the old version runs again');
      t.regex(await machine.ok('dpkg', '--list', 'personad'), /^ii +personad +99\.2\.0 /m);
      t.is(await machine.ok('dpkg', '--verify', 'personad'), '');

      t.is((await installs(container, 'migrating')).status, 1);
      const restored = await seen(container);
      t.deepEqual({ ...restored, pid: 0 }, { ...second, pid: 0 }, 'with the state of before');
      const status = JSON.parse(await machine.ok('personactl', 'status', '--json'));
      t.is(status.daemon.state, 'ready');
      const aside = await machine.ok('find', '/var/lib/persona/quarantine', '-name', 'personad.db');
      t.regex(aside, /-failed-upgrade\/personad\.db\n$/, 'what the failed version made is kept');

      t.is(await reading.failures(), '0 of 100 and more');
      t.is(await seenInSlot(machine), 'work\nmine\n');

      const units = ['personad.service', 'personad-user.socket', 'personad-control.socket'];
      await machine.ok('systemctl', 'disable', '--now', ...units);
      await machine.ok('dpkg', '--install', '/root/first.deb');
      for (const unit of units) {
        const state = await container.run(['systemctl', 'is-active', unit]);
        t.is(state.stdout, 'inactive\n', `${unit} was switched off`);
      }

      t.regex(await machine.ok('/root/uninstall'), /^Kept: \/var\/lib\/persona$/m);
      const removed = await tracesOf(machine);
      t.deepEqual(removed.mounts, before.mounts);
      t.deepEqual(removed.groups, before.groups);
      t.is(
        await machine.ok('systemctl', 'list-units', '--all', '--plain', '--no-legend', 'persona*'),
        '',
      );
      t.true(removed.files.some((path) => path.startsWith('/var/lib/persona/')));

      await machine.ok('dpkg', '--install', '/root/next.deb');
      t.is(await seenInSlot(machine), 'work\nmine\n', 'data outlives the package');
      await machine.ok('/root/uninstall', '--purge');
      t.deepEqual(await tracesOf(machine), before);
    },
  );
}

when(test, needs)('a machine that dies during an upgrade is repaired by another one', async (t) => {
  const { container } = await installed(t, 'trixie');
  const machine = asked(container);
  // Moments of unpacking, of trying and of after it; which one is hit differs from run to run.
  for (const [name, ms] of [
    ['next', 300],
    ['first', 700],
    ['next', 1_100],
  ] as const) {
    const running = installs(container, name).catch(() => undefined);
    await pause(ms);
    await container.kill();
    await running;
    await container.start();
    const { status, stderr } = await installs(container, name);
    t.is(status, 0, stderr);
    t.is(await machine.ok('dpkg', '--verify', 'personad'), '');
    t.is(await seenInSlot(machine), 'work\nmine\n', `after ${ms} ms`);
  }
});
