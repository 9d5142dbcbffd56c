import { statSync, truncateSync } from 'node:fs';

import test from 'ava';
import { version } from '../../daemon/version.ts';
import { when } from '../support/needs.ts';
import { builtPackage } from '../support/package.ts';
import { temporaryFolder } from '../support/temp.ts';
import { altered, next, unloadable } from './altered.ts';
import { tracesOf } from './machine-state.ts';
import { plainDebian, plainNeeds } from './plain-debian.ts';

// biome-ignore lint/suspicious/noTemplateCurlyInString: placeholders of dpkg
const status = ['dpkg-query', '--show', '--showformat=${db:Status-Abbrev}${Version}', 'personad'];

when(test, plainNeeds)('a full disk is noticed before anything is unpacked', async (t) => {
  const machine = await plainDebian(t, 'trixie', '128M');
  machine.copyIn(await builtPackage(), '/tmp/personad.deb');
  const before = await tracesOf(machine);
  const { status: ended, text } = await machine.run('dpkg', '--install', '/tmp/personad.deb');
  t.is(ended, 1);
  t.regex(text, /personad: \d+ KiB are needed below \/usr\/lib and \d+ KiB are free; make room/);
  t.deepEqual(await tracesOf(machine), before);
});

when(test, plainNeeds)(
  'an installation that broke off in the middle leaves the old version',
  async (t) => {
    const folder = temporaryFolder(t);
    const deb = await builtPackage();
    const torn = await altered(deb, folder, next('99.2.0'));
    truncateSync(torn, Math.floor(statSync(torn).size / 2));
    const machine = await plainDebian(t, 'trixie');
    machine.copyIn(deb, '/root/1.deb');
    machine.copyIn(torn, '/root/torn.deb');
    await machine.ok('dpkg', '--install', '/root/1.deb');
    const before = await tracesOf(machine);
    t.is((await machine.run('dpkg', '--install', '/root/torn.deb')).status, 1);
    t.is(await machine.ok(...status), `ii ${version}`);
    t.is(await machine.ok('dpkg', '--verify', 'personad'), '');
    t.deepEqual(await tracesOf(machine), before);
  },
);

when(test, plainNeeds)('a version that cannot run here is not taken', async (t) => {
  const folder = temporaryFolder(t);
  const deb = await builtPackage();
  const machine = await plainDebian(t, 'bookworm');
  machine.copyIn(deb, '/root/1.deb');
  machine.copyIn(await altered(deb, folder, unloadable('99.3.0')), '/root/3.deb');
  await machine.ok('dpkg', '--install', '/root/1.deb');
  const { status: ended, text } = await machine.run('dpkg', '--install', '/root/3.deb');
  t.is(ended, 1);
  t.regex(text, /the new version does not run, going back to the old one/);
  t.is(await machine.ok(...status), `ii ${version}`);
  t.is(await machine.ok('dpkg', '--verify', 'personad'), '');
});

when(test, plainNeeds)('an earlier installation is repaired, however broken', async (t) => {
  const folder = temporaryFolder(t);
  const deb = await builtPackage();
  const machine = await plainDebian(t, 'trixie');
  machine.copyIn(deb, '/root/1.deb');
  machine.copyIn(await altered(deb, folder, next('99.2.0')), '/root/2.deb');
  const breakages: Record<string, string> = {
    'unpacked and never configured': 'dpkg --unpack /root/1.deb',
    'all its files are gone': 'rm -r /usr/lib/personad',
    'its scripts fail': `for name in prerm postrm; do
      printf '#!/bin/sh\\nexit 1\\n' >/var/lib/dpkg/info/personad.$name
    done`,
    'its settings are wrong':
      'echo nonsense = 1 >/etc/persona/persona.toml; dpkg --install /root/1.deb',
  };
  for (const [what, breaking] of Object.entries(breakages)) {
    await machine.ok('dpkg', '--install', '/root/1.deb');
    await machine.run('sh', '-c', breaking);
    await machine.run('rm', '-f', '/etc/persona/persona.toml');
    const { status: ended, text } = await machine.run('dpkg', '--install', '/root/2.deb');
    t.is(ended, 0, `${what}: ${text}`);
    t.is(await machine.ok(...status), 'ii 99.2.0', what);
    t.is(await machine.ok('dpkg', '--verify', 'personad'), '', what);
    await machine.ok('personactl', 'version');
  }
});

when(test, plainNeeds)('without the tools of systemd the group is made by others', async (t) => {
  const machine = await plainDebian(t, 'bookworm');
  machine.copyIn(await builtPackage(), '/root/1.deb');
  await machine.ok('rm', '/usr/bin/systemd-sysusers', '/usr/bin/systemd-tmpfiles');
  await machine.ok('dpkg', '--install', '/root/1.deb');
  t.regex(await machine.ok('getent', 'group', 'persona'), /^persona:/);
});

when(test, plainNeeds)(
  'settings that are wrong do not fail an installation, and are named',
  async (t) => {
    const machine = await plainDebian(t, 'trixie');
    machine.copyIn(await builtPackage(), '/root/1.deb');
    machine.write('/etc/persona/persona.toml', 'nonsense = 1\n');
    const said = await machine.ok('dpkg', '--install', '/root/1.deb');
    t.regex(said, /\/etc\/persona\/persona\.toml:1/);
    t.regex(said, /personad: installed, and does not run/);
    t.regex(await machine.ok('getent', 'group', 'persona'), /^persona:/);
  },
);
