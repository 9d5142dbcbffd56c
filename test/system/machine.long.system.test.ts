import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { bootVm, needsVm } from './support/vm.ts';

const scenario = when(test, needsVm);

scenario('commands, files and power cuts of a machine do what they say', async (t) => {
  const vm = await bootVm(t, { snapshot: true, disk: '512M' });

  const answer = await vm.run('echo out; echo err >&2; exit 3');
  t.deepEqual(answer, { status: 3, stdout: 'out\n', stderr: 'err\n' });
  t.is((await vm.run('kill -TERM $$')).status, 143);
  t.is(await vm.must(['printf', '%s', "a 'b' $c"]), "a 'b' $c");
  t.is(await vm.must('id -un', { user: 'alice' }), 'alice\n');
  t.is((await vm.run(['no-such-program'])).status, 127);

  const large = 'x'.repeat(3_000_000);
  t.is(await vm.must('cat', { stdin: large }), large);
  await t.throwsAsync(vm.run('cat /dev/zero'), { message: /more than 16777216 bytes/ });
  await t.throwsAsync(vm.run('sleep 600', { deadlineMs: 200 }), {
    message: /not done after 0.2 s/,
  });
  const [first, second] = await Promise.all([
    vm.must('until [ -e /run/second ]; do sleep 0.05; done; echo first'),
    vm.must('touch /run/second; echo second'),
  ]);
  t.deepEqual([first, second], ['first\n', 'second\n']);

  const here = temporaryFolder(t);
  writeFileSync(join(here, 'file'), Buffer.from([0, 255, 10]), { mode: 0o750 });
  await vm.put(join(here, 'file'), '/opt/new/one');
  t.is(await vm.must('stat -c %a /opt/new/one'), '750\n');
  await vm.put(here, '/opt/tree');
  await vm.get('/opt/new/one', join(here, 'back/two'));
  t.deepEqual(readFileSync(join(here, 'back/two')), Buffer.from([0, 255, 10]));
  await vm.get('/opt/tree', join(here, 'tree'));
  t.is(statSync(join(here, 'tree/file')).mode & 0o777, 0o750);

  let heard = '';
  let cut: Promise<void> | undefined;
  // A journal commit may end with a write past the cache of the disk (FUA), which this disk keeps in its cache all the
  // same. The second sync has nothing to write and is a flush by itself.
  const sync = 'sync -f synced; sync -f synced';
  await vm.must(`cd /var/lib/persona; echo kept >synced; ${sync}; echo lost >unsynced`);
  const begun = vm.run('echo begun; sleep 600', {
    onOutput: (_, bytes) => {
      heard += bytes;
      cut = vm.cut();
    },
  });
  await t.throwsAsync(begun, { message: /went away/ });
  await cut;
  t.is(heard, 'begun\n');
  await t.throwsAsync(vm.run('true'), { message: /not up/ });
  await vm.boot();
  t.is(await vm.must('cat /var/lib/persona/synced'), 'kept\n');
  t.is(await vm.must('stat -c %s /opt/new/one /opt/tree/file'), '3\n3\n', 'put is durable');
  t.is((await vm.run('test -s /var/lib/persona/unsynced')).status, 1);

  // Written to the disk without a flush: only the disk's own cache holds it.
  const block =
    'dd if=/dev/zero bs=4096 count=1 oflag=direct conv=notrunc of=/var/lib/persona/block';
  await vm.must('echo old >/var/lib/persona/block; sync -f /var/lib/persona/block');
  await vm.must(`${block} status=none`);
  await vm.cut({ keepDiskCache: true });
  await vm.boot();
  t.is(await vm.must('head -c 1 /var/lib/persona/block | od -An -tx1'), ' 00\n');

  await vm.must('echo "<0>BUG: written by a test" >/dev/kmsg');
  await t.throwsAsync(vm.cut(), { message: /the kernel of the guest failed:\n.*BUG: written/ });
  // The machine itself goes the same way, and this test has seen what it wanted to see.
  writeFileSync(join(vm.folder, 'console.log'), '');
});

scenario('a machine ends with the process that started it', async (t) => {
  const program = join(import.meta.dirname, 'support/machine-owner.ts');
  const owner = spawn(process.execPath, ['--no-warnings', program, temporaryFolder(t)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => owner.kill('SIGKILL'));
  for await (const line of createInterface({ input: owner.stdout })) {
    t.true(existsSync(`/proc/${line}`));
    owner.kill('SIGKILL');
    const untilMs = Date.now() + 20_000;
    while (existsSync(`/proc/${line}`) && Date.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 20));
    t.false(existsSync(`/proc/${line}`));
  }
});

scenario('a snapshot starts with a clock that is right and a disk of its own', async (t) => {
  const vm = await bootVm(t, { snapshot: true, disk: '1G' });
  const seconds = Number(await vm.must('date +%s'));
  t.true(Math.abs(seconds - Date.now() / 1000) < 30);
  t.is(await vm.must('findmnt -no SOURCE /var/lib/persona'), '/dev/nvme0n1\n');
  t.is(await vm.must('systemctl is-active personad.service'), 'active\n');
  t.regex(await vm.must('personactl status'), /ready/);
});
