import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { when } from '../support/needs.ts';
import { putPrograms } from './support/guest-programs.ts';
import { accounts, populate, slotTree, slowMs, tool, until } from './support/slots.ts';
import { bootVm, needsVm } from './support/vm.ts';

// The power goes while a backup takes the place of the state: after the next start it is the old one or the new one.

const scenario = when(test, needsVm);
const mine = `${slotTree}/etc/mine`;
/** Parts of the time that a whole restore takes: from before its first byte is unpacked to its end. */
const moments = [0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9];

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
  const restore = 'personactl restore /root/desk.backup --replace --end-slots';
  const begunMs = performance.now();
  await must(restore);
  const wholeMs = performance.now() - begunMs;
  t.is(await must(`cat ${mine}`), 'of the backup');
  await today();
  const seen: string[] = [];
  for (const moment of moments) {
    const work = vm.run(restore, { deadlineMs: slowMs });
    work.catch(() => undefined); // it goes with the machine
    await pause(moment * wholeMs);
    await vm.cut();
    await vm.boot();
    await ready();
    const now = await must(`cat ${mine}`);
    t.regex(now, /^of (today|the backup)$/, `cut after ${moment} of it`);
    seen.push(now);
    t.is(await must('cd /var/lib/persona && ls -d restore slots/.restore 2>/dev/null || true'), '');
    for (const persona of ['a', 'b']) await tool(vm, `persona verify ${persona}`);
    await today();
  }
  t.log(`a whole one took ${Math.round(wholeMs)} ms; after cuts: ${seen.join(', ')}`);
});
