import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { when } from '../support/needs.ts';
import { putPrograms } from './support/guest-programs.ts';
import { accounts, populate, slotTree, slowMs, tool, until } from './support/slots.ts';
import { bootVm, needsVm } from './support/vm.ts';

// The power goes while a backup takes the place of the state: after the next start it is the old one or the new one.

const scenario = when(test, needsVm);
const mine = `${slotTree}/etc/mine`;
/** From before the first byte is unpacked to after the daemon has started anew, on a machine of any speed. */
const momentsMs = [1_000, 4_000, 8_000, 14_000, 25_000];

scenario('a restore survives a power cut at any moment', async (t) => {
  t.timeout(40 * 60_000);
  const vm = await bootVm(t, { snapshot: true });
  const must = (command: string) => vm.must(command, { deadlineMs: slowMs });
  const ready = () =>
    until('the daemon is ready', async () => {
      const { status, stdout } = await vm.run('personactl status --json', { deadlineMs: slowMs });
      return status === 0 && JSON.parse(stdout).daemon.state === 'ready';
    });
  const today = async () => {
    await tool(vm, 'swap work b', accounts.owner);
    await must(`printf 'of today' >${mine} && sync`);
  };
  await putPrograms(vm, 'make-trees');
  await populate(vm);
  await must(`printf 'of the backup' >${mine}`);
  await tool(vm, 'backup /root/desk.backup');
  await today();
  const seen: string[] = [];
  for (const moment of momentsMs) {
    const work = vm.run('personactl restore /root/desk.backup --replace --end-slots', {
      deadlineMs: slowMs,
    });
    work.catch(() => undefined); // it goes with the machine
    await pause(moment);
    await vm.cut();
    await vm.boot();
    await ready();
    const now = await must(`cat ${mine}`);
    t.regex(now, /^of (today|the backup)$/, `cut after ${moment} ms`);
    seen.push(now);
    t.is(await must('cd /var/lib/persona && ls -d restore slots/.restore 2>/dev/null || true'), '');
    for (const persona of ['a', 'b']) await tool(vm, `persona verify ${persona}`);
    await today();
  }
  t.log(seen.join(', '));
});
