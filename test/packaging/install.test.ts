import test from 'ava';
import { version } from '../../daemon/version.ts';
import { when } from '../support/needs.ts';
import { builtPackage } from '../support/package.ts';
import { daemon, smallState } from './by-hand.ts';
import { tracesOf } from './machine-state.ts';
import { plainDebian, plainNeeds } from './plain-debian.ts';
import { seenInSlot, useSlot } from './slot-in-use.ts';

for (const suite of ['bookworm', 'trixie'] as const) {
  when(test, plainNeeds)(`${suite}: from installation to purge, without systemd`, async (t) => {
    const machine = await plainDebian(t, suite);
    machine.copyIn(await builtPackage(), '/root/personad.deb');
    const before = await tracesOf(machine);
    t.is((await machine.run('sh', '-c', 'command -v gcc make npm node')).status, 127);

    const said = await machine.ok('dpkg', '--install', '/root/personad.deb');
    t.regex(said, /systemd does not run here; start the daemon by hand: \S+node \S+personad\.mjs/);
    t.regex(await machine.ok('getent', 'group', 'persona'), /^persona:/);
    t.is(
      await machine.ok('personactl', 'version'),
      `personactl ${version}\nThe daemon does not run.\n`,
    );
    t.regex(await machine.ok('dpkg', '--verify', 'personad'), /^$/);

    const words = `source /usr/share/bash-completion/completions/personactl
      COMP_WORDS=(personactl slot l) COMP_CWORD=2
      _personactl personactl l slot
      echo "\${COMPREPLY[@]}"`;
    t.regex(await machine.ok('bash', '-c', words), /^list\b/);
    t.regex(
      await machine.ok('zcat', '/usr/share/man/man1/personactl.1.gz'),
      /^\.TH PERSONACTL 1 /m,
    );

    machine.write('/etc/persona/persona.toml', smallState);
    await machine.start(/"ready"/, ...daemon);
    await useSlot(machine);
    t.is(await seenInSlot(machine), 'work\nmine\n');
    // Without a disk of its own the state tree has a volume, which must go as well.
    t.regex(
      await machine.ok('cat', '/proc/self/mountinfo'),
      / \/var\/lib\/persona\/slots .* ext4 /,
    );

    const again = await machine.ok('dpkg', '--install', '/root/personad.deb');
    t.regex(again, /the daemon that runs is the one from before; stop it and start it again/);
    t.is(await seenInSlot(machine), 'work\nmine\n', 'the same once more changes nothing');

    await machine.start(/inside/, 'unshare', '--mount', 'sh', '-c', 'echo inside; exec sleep 1d');
    const goodbye = await machine.ok('dpkg', '--remove', 'personad');
    const [, inside = ''] = /keep their trees: pid (\d+) $/m.exec(goodbye) ?? [];
    t.not(inside, '', goodbye);
    const end = `kill ${inside}; while losetup --list | grep -q /var/lib/persona; do sleep 0.1; done`;
    await machine.ok('timeout', '30', 'sh', '-c', end);
    const removed = await tracesOf(machine);
    t.deepEqual(removed.mounts, before.mounts);
    t.deepEqual(removed.groups, before.groups);
    t.deepEqual(
      removed.files.filter((path) => !/^\/(etc|var\/lib)\/persona(\/|$)/.test(path)),
      before.files,
    );
    t.is(machine.read('/etc/persona/persona.toml'), smallState);

    await machine.ok('dpkg', '--install', '/root/personad.deb');
    await machine.start(/"ready"/, ...daemon);
    t.is(await seenInSlot(machine), 'work\nmine\n', 'data outlives the package');

    await machine.ok('dpkg', '--purge', 'personad');
    t.deepEqual(await tracesOf(machine), before);
  });
}
