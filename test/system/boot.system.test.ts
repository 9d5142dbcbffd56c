import test from 'ava';
import { when } from '../support/needs.ts';
import { bootVm, needsVm } from './support/vm.ts';

const scenario = when(test, needsVm);

scenario('the service is up in a Debian of its own, and again after a power cut', async (t) => {
  const vm = await bootVm(t);
  t.log(await vm.must('uname -sr'));
  t.is(await vm.must('findmnt -no SOURCE /var/lib/persona'), '/dev/nvme0n1\n');
  t.is(await vm.must('systemctl is-active personad.service'), 'active\n');
  t.regex(await vm.must('personactl status'), /ready/);
  t.log(await vm.must('personactl doctor'));
  await vm.must('echo kept >/var/lib/kept && sync -f /var/lib/kept; echo lost >/var/lib/lost');

  const before = vm.bootId;
  await vm.cut();
  await vm.boot();
  t.not(vm.bootId, before);
  t.is(await vm.must('cat /var/lib/kept'), 'kept\n');
  t.is((await vm.run('cat /var/lib/lost')).status, 1);
  t.is(await vm.must('systemctl is-active personad.service'), 'active\n');
  t.regex(await vm.must('personactl status'), /ready/);
});
