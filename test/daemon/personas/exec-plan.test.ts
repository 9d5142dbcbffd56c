import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { mayBeSet } from '../../../daemon/personas/exec-environment.ts';
import { type ExecRequest, execPlan } from '../../../daemon/personas/exec-plan.ts';
import { imageOfTree, scratchFolder } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { copyPrograms } from '../../support/program-tree.ts';
import { type Bench, type BenchOptions, layerFrom, startBench } from '../../support/slots.ts';

const rooted = when(test, {
  root: true,
  tools: ['mkfs.erofs', 'bwrap', 'setpriv', 'nsenter', 'gcc'],
});
const USER = { uid: 1234, gid: 1234 };
const ROOT = { uid: 0, gid: 0 };
/** The lists of accounts of the persona: root alone. */
const rootsLines = { passwd: 'root:x:0:0:root:/root:/bin/sh\n', group: 'root:x:0:' };
/** Tells what a program may find out about where it is. */
const LOOK = `
echo "uid $(id -u) gid $(id -g)"
echo "pid $$"
read inside outside count < /proc/self/uid_map; echo "map $inside $outside $count"
echo "procs $(ls /proc | grep -c '^[0-9]')"
echo "links $(cat /proc/net/dev | grep -c :)"
echo "run $(ls /run | wc -l) tmp $(ls /tmp | wc -l)"
echo "host $(cat /proc/sys/kernel/hostname)"
echo "greeting $GREETING preload $LD_PRELOAD"
echo "fds $(ls /proc/self/fd | tr '\\n' ' ')"
test -e /home && echo "home is there"
touch /written && echo "can write"
true
`;

async function benchWithPrograms(
  t: ExecutionContext,
  options: BenchOptions = {},
): Promise<[Bench, string]> {
  const folder = scratchFolder(t);
  const tree = `${folder}/tree`;
  copyPrograms(
    tree,
    ...['sh', 'id', 'ls', 'cat', 'grep', 'wc', 'tr', 'touch', 'mknod', 'head', 'stat', 'chown'].map(
      (name) => run('sh', '-c', `command -v ${name}`).trim(),
    ),
  );
  writeFileSync(
    `${folder}/poke.c`,
    `
#include <sys/ioctl.h>
#include <stdio.h>
#include <errno.h>
int main(void) { char c = 'x'; int r = ioctl(0, TIOCSTI, &c); printf("sti %d errno %d\\n", r, errno); return 0; }`,
  );
  run('gcc', '-static', '-o', `${tree}/poke`, `${folder}/poke.c`);
  mkdirSync(`${tree}/etc`, { recursive: true });
  for (const [name, line] of Object.entries(rootsLines)) writeFileSync(`${tree}/etc/${name}`, line);
  const base = layerFrom(imageOfTree(tree, `${folder}/base.erofs`), 'base');
  const personas = {
    a: {
      persona: { name: 'a', digest: base.digest },
      base: { digest: base.digest },
      layers: [base],
      environment: { GREETING: 'hello', LD_PRELOAD: '/evil.so' },
    },
  };
  const bench = await startBench(`${folder}/persona`, personas, options);
  t.teardown(() => bench.stop());
  return [bench, folder];
}

/** Does what the tool does with a plan: starts it as the caller, with the filter on its descriptor. */
async function start(bench: Bench, folder: string, request: ExecRequest, ...command: string[]) {
  const plan = await execPlan(bench.slots.room, request);
  const handed = [
    Buffer.from(plan.seccomp.program, 'base64'),
    ...plan.data.map(({ text }) => text),
  ];
  const fds = handed.map((bytes, index) => {
    writeFileSync(`${folder}/handed-${index}`, bytes);
    return openSync(`${folder}/handed-${index}`, 'r');
  });
  const { uid, gid } = request.caller;
  const as =
    uid === 0 ? [] : ['setpriv', '--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups'];
  const [file, ...args] = [...as, ...plan.argv, ...command];
  try {
    const child = spawnSync(file!, args, {
      env: plan.environment,
      stdio: ['ignore', 'pipe', 'pipe', ...fds],
      encoding: 'utf8',
      cwd: '/',
    });
    return { ...child, plan };
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

test('what changes how programs start is never taken from a persona', (t) => {
  for (const name of [
    'LD_PRELOAD',
    'LD_X',
    'NODE_OPTIONS',
    'BASH_ENV',
    'ENV',
    'PYTHONPATH',
    'A=B',
    '',
    '1A',
  ]) {
    t.false(mayBeSet(name), name);
  }
  for (const name of ['PATH', 'LANG', 'EDITOR', 'MY_LD_VALUE']) t.true(mayBeSet(name), name);
});

rooted(
  "a user gets its own pids, no net, no home, an empty run, and the persona's words",
  async (t) => {
    const [bench, folder] = await benchWithPrograms(t);
    await bench.create('work');
    await bench.swap('work', 'a');
    const { stdout, stderr, status, plan } = await start(
      bench,
      folder,
      { slot: 'work', caller: USER, grants: {} },
      '/bin/sh',
      '-c',
      LOOK,
    );
    t.is(status, 0, stderr);
    t.regex(stdout, /uid 1234 gid 1234/);
    t.regex(stdout, /pid [23]\n/);
    t.regex(stdout, /links 1\n/); // the loopback alone
    t.regex(stdout, /run 0 tmp 0/);
    t.regex(stdout, /host work\n/);
    t.regex(stdout, /greeting hello preload \n/);
    t.notRegex(stdout, /home is there/);
    t.notRegex(stdout, /can write/);
    // What this test itself inherited reaches its children too; the last of the others is that of `ls`.
    const inherited = run('ls', '/proc/self/fd').split('\n');
    const fds = /fds (.*) $/m
      .exec(stdout)?.[1]
      ?.split(' ')
      .filter((one) => !inherited.includes(one));
    t.deepEqual(fds, []);
    t.true(plan.notes.some((note) => note.includes('LD_PRELOAD')));
  },
);

rooted('root is root inside and nobody outside, and owns the files', async (t) => {
  const [bench, folder] = await benchWithPrograms(t);
  await bench.create('mine', { owner: 0 });
  await bench.swap('mine', 'a');
  const request = { slot: 'mine', caller: ROOT, grants: {} };
  const { stdout, stderr, status } = await start(bench, folder, request, '/bin/sh', '-c', LOOK);
  t.is(status, 0, stderr);
  t.regex(stdout, /uid 0 gid 0/);
  t.regex(stdout, /map 0 2130706432 65536/);
  t.regex(stdout, /links 1\n/);
  t.regex(stdout, /can write/, stderr);
  t.is(statSync(`${bench.tree('mine')}/written`).uid, 2_130_706_432);
  const upper = bench.slots.room.book.uppersOf('mine').find(({ state }) => state === 'active')!;
  t.is(statSync(`${bench.slots.room.uppers.path('mine', upper.id)}/fs/written`).uid, 2_130_706_432);
  const hostile =
    'mknod /d b 8 0; cat /proc/sys/kernel/core_pattern >/dev/null && echo x > /proc/sys/kernel/core_pattern; ls /proc/1/root/var/lib/persona; chown 5:5 /written && stat -c %u /written';
  const second = await start(bench, folder, request, '/bin/sh', '-c', hostile);
  t.regex(second.stderr, /mknod.*(not permitted|denied)/i);
  t.regex(second.stderr, /core_pattern.*(denied|read-only|not permitted)/i);
  t.regex(second.stdout, /^5$/m);
});

rooted('two slots of root have ids of their own', async (t) => {
  const [bench] = await benchWithPrograms(t);
  await bench.create('one', { owner: 0 });
  await bench.create('two', { owner: 0 });
  const ids = bench.slots.room.book.slots().map(({ ids: range }) => range?.first);
  t.deepEqual(ids, [2_130_706_432, 2_130_771_968]);
});

rooted('terminals cannot be typed into', async (t) => {
  const [bench, folder] = await benchWithPrograms(t);
  await bench.create('work');
  await bench.swap('work', 'a');
  const { stdout } = await start(
    bench,
    folder,
    { slot: 'work', caller: USER, grants: {} },
    '/poke',
  );
  t.is(stdout.trim(), 'sti -1 errno 1'); // EPERM of the filter; without it ENOTTY
});

rooted('a user can be root inside, net and folders are given when asked for', async (t) => {
  const [bench, folder] = await benchWithPrograms(t);
  await bench.create('work');
  await bench.swap('work', 'a');
  writeFileSync(`${folder}/shared`, '');
  const request = {
    slot: 'work',
    caller: USER,
    grants: { root: true, net: true, folders: [{ path: '/tmp/persona-shared-folder' }] },
  };
  mkdirSync('/tmp/persona-shared-folder', { recursive: true });
  t.teardown(() => run('rmdir', '/tmp/persona-shared-folder'));
  const { stdout, stderr } = await start(
    bench,
    folder,
    request,
    '/bin/sh',
    '-c',
    `${LOOK} ls -d /tmp/persona-shared-folder`,
  );
  t.regex(stdout, /uid 0 gid 0/, stderr);
  t.regex(stdout, /map 0 1234 1/);
  t.regex(stdout, /persona-shared-folder/);
  await t.throwsAsync(
    execPlan(bench.slots.room, { ...request, grants: { folders: [{ path: '/nowhere/x' }] } }),
    { message: /no folder of this path/ },
  );
  await t.throwsAsync(execPlan(bench.slots.room, { ...request, grants: { home: true } }), {
    message: /no home folder/,
  });
});

rooted('who may not start programs hears why', async (t) => {
  const [bench] = await benchWithPrograms(t, { able: (id) => id !== 'user-namespaces' });
  await bench.create('work');
  const plan = (caller: { uid: number; gid: number }) =>
    execPlan(bench.slots.room, { slot: 'work', caller, grants: {} });
  await t.throwsAsync(plan(USER), { message: /no persona is active/ });
  await bench.swap('work', 'a');
  await t.throwsAsync(plan(USER), { message: /user namespaces are switched off/ });
  await t.throwsAsync(plan({ uid: 77, gid: 77 }), { message: /belongs to another user/ });
  await t.throwsAsync(plan(ROOT), { message: /start programs in it as that user/ });
});

rooted(
  'a user has a name inside, and a place to write; the slot knows nothing of it',
  async (t) => {
    const [bench, folder] = await benchWithPrograms(t);
    await bench.create('work');
    await bench.swap('work', 'a');
    const request = { slot: 'work', caller: USER, grants: {} };
    const who =
      'echo "$(id -un) $(id -gn) $USER $LOGNAME"; touch ~/x && echo "wrote"; cat /etc/passwd';
    const first = await start(bench, folder, request, '/bin/sh', '-c', who);
    t.is(
      first.stdout,
      `uid1234 uid1234 uid1234 uid1234\nwrote\n${rootsLines.passwd}uid1234:x:1234:1234::/tmp:/bin/sh\n`,
      first.stderr,
    );
    const etc = `${bench.tree('work')}/etc`;
    t.is(readFileSync(`${etc}/passwd`, 'utf8'), rootsLines.passwd);
    t.is(readFileSync(`${etc}/group`, 'utf8'), rootsLines.group);

    // Whom the persona knows has the name that it gives him.
    appendFileSync(`${etc}/passwd`, 'ann:x:1234:1234::/:/bin/sh\n');
    const known = await start(bench, folder, request, '/bin/id', '-un');
    t.is(known.stdout, 'ann\n', known.stderr);

    // A list that not everybody inside may read is not shown by us, and nothing is mounted where a link leads.
    writeFileSync(`${etc}/passwd`, 'secret:x:7:7::/:/bin/sh\n');
    chmodSync(`${etc}/passwd`, 0o600);
    const secret = await start(bench, folder, request, '/bin/sh', '-c', 'cat /etc/passwd; id -u');
    t.is(secret.stdout, '1234\n');
    t.notRegex(JSON.stringify(secret.plan), /secret/);
    rmSync(`${etc}/passwd`);
    symlinkSync('/written', `${etc}/passwd`);
    const linked = await start(bench, folder, request, '/bin/id', '-u');
    t.is(linked.stdout, '1234\n', linked.stderr);
    t.true(linked.plan.notes.some((note) => note.includes('/etc/passwd does not know uid1234')));
  },
);
