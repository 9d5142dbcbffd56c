import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { askFor, useFaultyDaemon } from './faulty.ts';
import { as, bootInstalled, type Installed, needs, populate, slotTree } from './installed.ts';

// SECURITY 26 and 6: a daemon that cannot work any more is started anew, and one whose database is careless changes nothing.

const unit = 'personad.service';
const watchdogSec = 2;

const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, { suite: 'trixie' });
    await populate(machine);
    await useFaultyDaemon(machine, watchdogSec);
    machine.write(`${slotTree}/etc/written`, 'kept');
  });
  test.after.always(() => scope.end());
}

when(test, needs)('a daemon that works is left alone by its watchdog', async (t) => {
  const pid = await machine.daemonPid();
  const heard = () => machine.property(unit, 'WatchdogTimestampMonotonic');
  // Three signs of life come in one limit.
  for (let signs = 0; signs < 5; signs++) {
    const last = await heard();
    await machine.until('a sign of life', async () => (await heard()) !== last);
  }
  t.is(await machine.daemonPid(), pid);
  t.is(await machine.property(unit, 'NRestarts'), '0');
});

for (const fault of ['loop', 'pool'] as const) {
  const what = { loop: 'a blocked event loop', pool: 'a thread pool of hung calls' }[fault];
  when(test, needs)(`${what} ends in a clean restart`, async (t) => {
    const before = await machine.ok(['stat', '--format=%d %i', slotTree]);
    const pid = await machine.daemonPid();
    const name = `more-${fault}`;
    askFor(machine, fault);
    const asking = machine.spawn(['personactl', 'slot', 'create', name]);
    await machine.untilReady(pid);
    asking.kill('SIGKILL');
    await machine.untilLogged(unit, /Watchdog timeout/);
    t.is(await machine.property(unit, 'Result'), 'success');
    t.is(await machine.property(unit, 'StatusText'), 'ready');
    t.is(await machine.ok(['stat', '--format=%d %i', slotTree]), before, 'the very same tree');
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
    // The change that was cut off is undone or finished; what it was about can be asked for again.
    const { value } = await machine.asked(['change', 'list']);
    t.deepEqual((value as { changes: unknown[] }).changes, []);
    if ((await machine.asked(['slot', 'show', name])).status !== 0)
      await machine.tool(['slot', 'create', name]);
    await machine.tool(['swap', 'work', 'b'], as(machine, 'owner'));
    await machine.tool(['swap', 'work', 'a'], as(machine, 'owner'));
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
  });
}

when(test, needs)('a database that does not take synchronous=FULL is not written', async (t) => {
  askFor(machine, 'careless');
  await machine.ok(['systemctl', 'restart', unit]);
  t.regex(await machine.property(unit, 'StatusText'), /^degraded: .*synchronous 1, not 2/);
  const { status } = await machine.asked(['slot', 'create', 'never']);
  t.is(status, 6);
  t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
  await machine.ok(['systemctl', 'restart', unit]);
  t.is(await machine.property(unit, 'StatusText'), 'ready');
});
