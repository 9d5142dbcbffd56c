import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, run, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, populate, slotTree } from './installed.ts';

// A state tree that cannot hold uppers: the daemon's own volume, through the few devices that the unit allows.

const unit = 'personad.service';
const image = '/var/lib/persona/uppers.ext4';

const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, { suite: 'bookworm', stateOnRoot: true });
    machine.write(
      '/etc/persona/conf.d/small.toml',
      '[space]\nreserve = "8MiB"\nkeep_free = "16MiB"\nupper_volume = "256MiB"\n',
    );
  });
  test.after.always(() => scope.end());
}

/** Loop devices of the host on this file: by its device and inode, since paths are those of a namespace. */
function devicesOn(file: string): number {
  const columns = 'BACK-MAJ:MIN,BACK-INO';
  const text = run('losetup', '--list', '--noheadings', '--output', columns);
  return text.split('\n').filter((line) => line.trim().split(/\s+/).join(' ') === file).length;
}

when(test, needs)('one device carries what slots write, whatever ends the daemon', async (t) => {
  await machine.ok(['systemctl', 'restart', unit]);
  await populate(machine);
  const file = (await machine.ok(['stat', '--format=%Hd:%Ld %i', image])).trim();
  t.is(devicesOn(file), 1);
  machine.write(`${slotTree}/etc/written`, 'kept');
  const shown = () => machine.ok(['stat', '--format=%d %i', slotTree]);
  const before = await shown();
  const pid = await machine.daemonPid();
  await machine.crash();
  await machine.untilReady(pid);
  t.is(await shown(), before);
  t.is(devicesOn(file), 1);
  await machine.tool(['swap', 'work', 'b'], as(machine, 'owner'));
  await machine.tool(['swap', 'work', 'a'], as(machine, 'owner'));
  await machine.kill();
  // The kernel takes a namespace apart after its last process has ended.
  await machine.until('the device ends with the machine', async () => devicesOn(file) === 0);
  await machine.start();
  await machine.untilReady();
  t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
});
