import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { SecureLaunches } from '../../../daemon/compose/secure-launches.ts';
import { landlockVersion } from '../../../daemon/kernel/landlock.ts';
import { processStat } from '../../../daemon/kernel/processes.ts';
import type { Source } from '../../../daemon/profiles/application.ts';
import { type Grant, secureWay } from '../../../daemon/profiles/secure-way.ts';
import { choose } from '../../../daemon/profiles/selection.ts';
import { statedEnclave, statedGrants, withStated } from '../../../daemon/profiles/stated-grants.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { longScope, startLive, users } from '../../security/live-daemon.ts';
import { type ApartGround, apartGround, apartNeeds, becoming } from '../../support/apart.ts';
import { lacking, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// The profile `secure` for real: a daemon, the launcher, an ordinary user, an enclave.

const real = when(test, apartNeeds);
const scope = longScope();
const me = users.owner;
const asked = ['--profile', 'secure'];
let ground: ApartGround;
let vault: string;

test.before('a daemon, and the only enclave of a user', async () => {
  if (lacking(apartNeeds) !== undefined) return;
  ground = await apartGround(scope);
  vault = await ground.enclave('vault');
});
test.after.always(() => scope.end());

/** A folder of the user's, which everybody may enter. */
function folderOf(t: ExecutionContext, uid: number): string {
  const folder = join(temporaryFolder(t), 'own');
  mkdirSync(folder);
  chmodSync(join(folder, '..'), 0o755);
  chownSync(folder, uid, uid);
  return folder;
}

/** Runs a script apart, and answers its lines. */
async function inside(t: ExecutionContext, script: string, more: readonly string[] = []) {
  const { status, out, err } = await ground.run(me, [
    ...asked,
    ...more,
    'x',
    '--',
    'sh',
    '-c',
    script,
  ]);
  t.is(status, 0, err);
  t.is(err, '');
  return out.trimEnd().split('\n');
}

real(
  'its home is the enclave; of the machine it sees programs only, and can write none of them',
  async (t) => {
    writeFileSync(join(vault, 'before'), 'kept\n', { mode: 0o644 });
    const lines = await inside(
      t,
      `pwd; cat before; echo written > after; ls /home | wc -l; ls -A /run /tmp | wc -l
     for at in /root /var/lib /var/tmp/x /mnt /srv /boot /sys /etc/shadow /etc/hostname /etc/resolv.conf ${ground.daemon.root}; do test -e $at && echo "sees $at"; done
     for at in / /usr /etc /home /proc/sys/kernel/core_pattern; do test -w $at && echo "writes $at"; done
     touch /tmp/own && echo tmp`,
    );
    t.deepEqual(lines, ['/home/user', 'kept', '1', '3', 'tmp']);
    t.is(readFileSync(join(vault, 'after'), 'utf8'), 'written\n');
    t.false(existsSync('/tmp/own'));
  },
);

real('of /etc it sees the same, shown as one folder or name by name', async (t) => {
  const script = 'cd /etc; find . -type f 2>/dev/null | sort | xargs sha256sum';
  const whole = await inside(t, script);
  const byName = new Set(await inside(t, script, ['--net']));
  t.true(whole.length > 5);
  t.deepEqual(
    whole.filter((line) => !byName.has(line)),
    [],
  );
  t.true(readdirSync(join(ground.daemon.run, 'settings')).includes('passwd'));
});

real('it has its own processes, no network, no privileges, and a filter', async (t) => {
  const lines = await inside(
    t,
    `ls /proc | grep -c '^[0-9]'; grep -c : /proc/net/dev; ls /proc/self/fd | tr '\\n' ' '; echo
     grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
     for kind in user mount pid net ipc uts; do unshare --$kind true 2>&1 | grep -c Operation; done
     read inside outside count < /proc/self/uid_map; echo $inside $count`,
  );
  t.true(Number(lines[0]) <= 6, lines[0]);
  t.deepEqual(lines.slice(1), [
    '1',
    '0 1 2 3 ',
    'CapEff:0000000000000000',
    'CapBnd:0000000000000000',
    'NoNewPrivs:1',
    'Seccomp:2',
    ...Array.from({ length: 6 }, () => '1'),
    `${me} 1`,
  ]);
});

when(test, {
  ...apartNeeds,
  other: () => (landlockVersion() < 3 ? 'needs Landlock, version 3' : apartNeeds.other()),
})('Landlock keeps it where its mounts do not, and it can use what it was given', async (t) => {
  // That folder is a tmpfs of its own, which it could write to.
  const lines = await inside(
    t,
    `touch /dev/new 2>&1 | grep -c denied; echo a > /dev/shm/x; mkdir -p /run/a /tmp/b && mv /tmp/b /tmp/c && cp /usr/bin/true ~/own && ~/own && echo used
     { echo by name > /dev/stdout; } | cat; : > /dev/null; mv own other && rm other; ls / | tr '\\n' ' '`,
  );
  t.deepEqual(lines.slice(0, 3), ['1', 'used', 'by name']);
  const asked = { app: 'x', profile: 'secure', dryRun: true };
  const plan = (await ground.ask(me, 'launch.plan', asked)).result as Answer<'launch.plan'>;
  t.regex(plan.assurance?.landlock ?? '', /^used \(version \d+\): it reads what it is shown/);
});

real('tricks of the environment do not get in, not even as far as the sandbox', async (t) => {
  const folder = folderOf(t, me);
  const library = join(folder, 'evil.so');
  const source = join(folder, 'evil.c');
  writeFileSync(
    source,
    '#include <unistd.h>\n__attribute__((constructor)) void evil(void) { write(1, "EVIL\\n", 5); }\n',
  );
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, source]);
  const env = {
    ...Object.fromEntries(
      ['LD_PRELOAD', 'LD_AUDIT', 'NODE_OPTIONS', 'BASH_ENV', 'ENV', 'PYTHONPATH', 'GTK_MODULES']
        .concat(['GIT_SSH_COMMAND', 'PERL5OPT', 'SSH_AUTH_SOCK', 'DBUS_SESSION_BUS_ADDRESS'])
        .concat(['XDG_RUNTIME_DIR', 'DISPLAY', 'WAYLAND_DISPLAY', 'A_NAME_NOBODY_KNOWS'])
        .map((name) => [name, library]),
    ),
    HOME: folder,
    PATH: `${folder}:/usr/bin:/bin`,
    LANG: 'C.UTF-8',
    TERM: 'xterm',
  };
  const words = [...asked, 'x', '--', 'env', '-0'];
  const { out, err } = await ground.run(me, words, env);
  t.is(err.replaceAll(/^.*evil\.so.*\n/gm, ''), '');
  const apart = out.replaceAll('EVIL\n', '').split('\0').filter(Boolean).sort();
  t.deepEqual(apart, [
    'HOME=/home/user',
    'LANG=C.UTF-8',
    'LOGNAME=user',
    'PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games',
    'PWD=/home/user',
    'SHELL=/bin/sh',
    'TERM=xterm',
    'USER=user',
  ]);
  // That the trick works on a program that is not kept apart shows that the looking works.
  const plain = await ground.run(me, ['x', '--', 'env', '-0'], env);
  t.true(plain.out.includes(`A_NAME_NOBODY_KNOWS=${library}`));
  t.true(count(plain.out) > count(out), 'the launcher and the sandbox have not loaded it either');
});

/** How often the library of the trick was loaded. */
const count = (out: string): number => out.split('EVIL\n').length - 1;

real('what is granted is what was said, and no way round the walls', async (t) => {
  const folder = folderOf(t, me);
  writeFileSync(join(folder, 'file'), 'mine\n', { mode: 0o644 });
  const shown = await inside(t, `cat ${folder}/file; touch ${folder}/x 2>&1 | grep -c Read-only`, [
    '--show',
    folder,
  ]);
  t.deepEqual(shown, ['mine', '1']);
  await inside(t, `echo shared > ${folder}/x`, ['--share', folder]);
  t.is(readFileSync(join(folder, 'x'), 'utf8'), 'shared\n');
  const net = await inside(t, 'grep -c : /proc/net/dev; test -e /etc/resolv.conf && echo names', [
    '--net',
  ]);
  t.deepEqual(net, [`${readFileSync('/proc/net/dev', 'utf8').match(/:/g)?.length}`, 'names']);
  for (const path of ['/', '/home', '/home/user', '/proc', '/dev/shm', '/sys/fs', `${folder}/..`]) {
    const words = [...asked, '--share', path, 'x', '--', 'echo', 'on'];
    const { status, out, err } = await ground.run(me, words);
    t.deepEqual([status, out], [125, ''], path);
    t.true(err.includes(path), err);
  }
});

real('what is missing is told, with what to do, and nothing starts', async (t) => {
  const refused = async (uid: number, words: readonly string[], why: RegExp) => {
    const { status, out, err } = await ground.run(uid, [...words, 'x', '--', 'echo', 'on']);
    t.deepEqual([status, out], [125, ''], err);
    t.regex(err, why);
  };
  await refused(users.user, asked, /this user has none: `personactl enclave create/);
  await refused(
    me,
    [...asked, '--enclave', 'other'],
    /none called other: `personactl enclave create/,
  );
  await ground.enclave('left', users.other, false);
  await refused(users.other, asked, /enclave left is closed: `personactl enclave open left`/);
  await refused(me, [...asked, '--enclave', 'left'], /none called left/);
  await ground.enclave('second', users.other);
  await refused(users.other, asked, /which enclave .*--enclave NAME.*left, second/);
  await refused(0, asked, /root is kept from nothing by it/);
  const own = folderOf(t, me);
  writeFileSync(join(own, 'program'), '#!/bin/sh\necho on\n', { mode: 0o755 });
  const words = [...asked, 'x', '--', join(own, 'program')];
  const { status, err } = await ground.run(me, words);
  t.is(status, 125);
  t.true(err.includes(`--show ${own}`), err);
  const granted = await ground.run(me, ['--show', own, ...words]);
  t.is(granted.out, 'on\n', granted.err);
});

real('what is stated is granted at each start, of that program alone', async (t) => {
  const folder = folderOf(t, me);
  const letter = join(folder, 'letter');
  writeFileSync(letter, 'dear\n', { mode: 0o644 });
  const set = async (uid: number, more: object) => {
    const { error } = await ground.ask(uid, 'app.set', { app: 'reader', wait: true, ...more });
    t.is(error, undefined);
  };
  const reads = async (...words: string[]) =>
    (await ground.run(me, [...words, letter])).out === 'dear\n';
  await set(0, { everybody: true, set: { executables: ['/usr/bin/tac'] } });
  await set(me, { set: { profile: 'secure', show: [folder], grants: ['bus'] } });
  t.true(await reads('reader', '--', 'tac'));
  t.false(await reads(...asked, 'reader', '--', 'cat'), 'it only calls itself so');
  const told = await ground.ask(me, 'app.explain', { app: 'reader' });
  t.regex(JSON.stringify(told.result), /"fact":"show","value":"[^"]*own"/);
  // An administrator has the last word on what is stated; on the command line more is granted.
  await set(0, { everybody: true, set: { show: ['/srv'] } });
  t.false(await reads('reader', '--', 'tac'));
  t.true(await reads('--show', folder, 'reader', '--', 'tac'));
  const { error } = await ground.ask(me, 'app.set', { app: 'x', set: { grants: ['root'] } });
  t.is(error?.code, 'bad-request');
  await set(0, { everybody: true, unset: ['show', 'executables'] });
  await set(me, { unset: ['profile', 'show', 'grants'] });
});

real('each application has the enclave as home that is stated for it', async (t) => {
  const uid = users.keeper;
  const [diary, bank] = [await ground.enclave('diary', uid), await ground.enclave('bank', uid)];
  const set = async (app: string, set: object) => {
    const { error } = await ground.ask(uid, 'app.set', { app, set, wait: true });
    t.is(error, undefined);
  };
  const secure = { profile: 'secure' };
  await set('writer', { ...secure, executables: ['/usr/bin/tee'], enclave: 'diary' });
  await set('clerk', { ...secure, executables: ['/usr/bin/touch'], enclave: 'bank' });
  const ends = async (wanted: number, ...words: string[]) => {
    const { status, err } = await ground.run(uid, words);
    t.is(status, wanted, err);
  };
  await ends(0, 'writer', '--', 'tee', 'note');
  await ends(0, 'clerk', '--', 'touch', 'bill');
  // On the command line another one is named; what only calls itself so has none.
  await ends(0, '--enclave', 'bank', 'writer', '--', 'tee', 'once');
  await ends(125, ...asked, 'writer', '--', 'touch', 'no');
  await ends(125, ...asked, 'x', '--', 'sh', '-c', 'touch no');
  t.deepEqual(readdirSync(diary), ['note']);
  t.deepEqual(readdirSync(bank).sort(), ['bill', 'once']);
  const { dev, ino } = statSync('/usr/bin/tee', { bigint: true });
  const executable = { path: '/usr/bin/tee', device: `${dev}`, inode: `${ino}` };
  const told = (await ground.ask(uid, 'app.explain', { executable })).result;
  const { explanation } = told as Answer<'app.explain'>;
  t.deepEqual([explanation.profile, explanation.refused], ['secure', undefined]);
  t.regex(JSON.stringify(explanation.evidence), /"fact":"enclave","value":"diary"/);
  const planned = { app: 'writer', executable, dryRun: true };
  const plan = (await ground.ask(uid, 'launch.plan', planned)).result as Answer<'launch.plan'>;
  t.regex(plan.assurance?.reach.join() ?? '', /other applications whose home is enclave diary/);
  // No word opens the enclave of another user.
  await set('writer', { enclave: 'vault' });
  const { status, err } = await ground.run(uid, ['writer', '--', 'tee', 'note']);
  t.is(status, 125);
  t.regex(err, /this user has none called vault/);
  t.false(existsSync(join(vault, 'note')));
});

real('of a display it is shown the socket, by whichever number', async (t) => {
  const runtime = `/run/user/${me}`;
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  t.teardown(() => rmSync(runtime, { recursive: true, force: true }));
  for (const name of ['wayland-1', 'other']) {
    const server = createServer().listen(join(runtime, name));
    await once(server, 'listening');
    t.teardown(() => server.close());
    chownSync(join(runtime, name), me, me);
  }
  chownSync(runtime, me, me);
  const script = 'ls /run/user/*; test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" && echo there';
  const words = ['x', '--', 'sh', '-c', script];
  const env = { WAYLAND_DISPLAY: 'wayland-1' };
  const { out, err } = await ground.run(me, [...asked, '--display', ...words], env);
  t.is(out, 'wayland-1\nthere\n', err);
  t.is((await ground.run(me, [...asked, ...words], env)).out, '');
  // By Wayland alone there is no way to X11.
  const x11 = '/tmp/.X11-unix';
  if (!existsSync(x11)) {
    mkdirSync(x11);
    t.teardown(() => rmSync(x11, { recursive: true }));
  }
  const looks = 'ls -d /run/user/*/* /tmp/.X11-unix 2>/dev/null; echo "$DISPLAY $WAYLAND_DISPLAY"';
  const seen = async (grant: string) => {
    const line = [...asked, grant, 'x', '--', 'sh', '-c', looks];
    return (await ground.run(me, line, { ...env, DISPLAY: ':0' })).out;
  };
  t.is(await seen('--display'), `${runtime}/wayland-1\n${x11}\n:0 wayland-1\n`);
  t.is(await seen('--wayland'), `${runtime}/wayland-1\n wayland-1\n`);
  const dry = { app: 'x', profile: 'secure', grants: ['wayland'], dryRun: true };
  const plan = (await ground.ask(me, 'launch.plan', dry)).result as Answer<'launch.plan'>;
  t.regex(plan.assurance?.granted.join() ?? '', /^the display by Wayland: its own windows/);
});

test('grants count when an administrator or the user states them, in folders of that user', (t) => {
  const of = (source: Source) => ({ source, from: 'x', confidence: 1, dateMs: 0 });
  const said = (source: Source) =>
    statedGrants(
      {
        id: 'x',
        facts: {
          grants: [{ ...of(source), value: ['net', 'display'] }],
          show: [{ ...of(source), value: ['~/Pictures', '/srv'] }],
          share: [
            { ...of(source), value: ['~/Letters'] },
            { ...of('category'), value: ['~/no'] },
          ],
        },
      },
      '/home/ann',
    );
  const all = [
    ...(['net', 'display'] as const),
    ...[{ show: '/home/ann/Pictures' }, { show: '/srv' }, { share: '/home/ann/Letters' }],
  ];
  t.deepEqual(said('admin'), all);
  t.deepEqual(said('user'), all);
  for (const source of ['measured', 'imported', 'category'] as const) t.deepEqual(said(source), []);
  for (const home of [undefined, '', '/'])
    t.deepEqual(
      statedGrants(
        { id: 'x', facts: { show: [{ ...of('user'), value: ['~/Pictures', '/srv'] }] } },
        home,
      ),
      [{ show: '/srv' }],
    );
  const home = (source: Source, by: 'executable' | 'name') =>
    statedEnclave({
      application: { id: 'x', facts: { enclave: [{ ...of(source), value: 'vault' }] } },
      recognised: by === 'name' ? { by, name: 'x' } : { by, path: '/x', device: '1', inode: '1' },
    });
  t.is(home('admin', 'executable'), 'vault');
  t.is(home('user', 'executable'), 'vault');
  t.is(home('imported', 'executable'), undefined);
  t.is(home('user', 'name'), undefined);
  t.deepEqual(withStated(all, ['net', 'bus', { show: '/srv' }]), [...all, 'bus']);
});

test('a folder in another one keeps its right, and nothing that grants may be written', (t) => {
  const account = { name: 'ann', uid: 1000, gid: 1000, home: '/home/ann' };
  const binds = (...grants: Grant[]) => {
    const { argv } = secureWay({
      ...{ app: 'x', uid: 1000, account, home: '/vault', grants, filter: '/filter' },
      ...{ besideUsr: [], hasOpt: false, settings: '/settings' },
    });
    return argv.flatMap((word, at) => {
      const path = argv[at + 1] ?? '';
      return /^--(ro-)?bind$/.test(word) && path.startsWith('/home/ann/')
        ? `${word.slice(2)} ${path}`
        : [];
    });
  };
  t.deepEqual(binds({ show: '/home/ann/Art/originals' }, { share: '/home/ann/Art' }), [
    'bind /home/ann/Art',
    'ro-bind /home/ann/Art/originals',
  ]);
  for (const path of ['/home/ann/.config', '/home/ann/.config/persona/apps.d'])
    t.throws(() => binds({ share: path }), { code: 'bad-value' });
  t.deepEqual(binds({ show: '/home/ann/.config' }, { share: '/home/ann/.config/paint' }), [
    'ro-bind /home/ann/.config',
    'bind /home/ann/.config/paint',
  ]);
});

/** What a machine says that lacks nothing but an enclave. */
const machineWithout = (run: string) => ({
  paths: { run },
  able: () => true,
  hasBubblewrap: () => true,
  landlock: () => ({ version: 7, program: '/usr/bin/persona-confine' as string | undefined }),
  home: async () => ({ obstacle: 'no enclave' }),
  anyHome: async () => false,
  now: Date.now,
  log: silentLog,
});

test('settings are copied at the start where somebody has an enclave, and nowhere else', async (t) => {
  for (const any of [false, true]) {
    const run = temporaryFolder(t);
    const secure = new SecureLaunches({ ...machineWithout(run), anyHome: async () => any });
    await secure.open();
    t.teardown(() => secure.close());
    t.is(existsSync(join(run, 'settings')), any);
  }
});

test('a machine without bubblewrap, or where users make no namespaces, keeps nothing apart', async (t) => {
  const whole = machineWithout('/nonexistent');
  for (const [lacking, why] of [
    [{ hasBubblewrap: () => false }, /bwrap is missing: `apt install bubblewrap`/],
    [{ able: () => false }, /no namespaces here: `personactl doctor`/],
    [{ landlock: () => ({ version: 1, program: undefined }) }, /persona-confine is missing/],
    [{ landlock: () => ({ version: 0, program: undefined }) }, /^no enclave$/],
    [{}, /^no enclave$/],
  ] as const) {
    const secure = new SecureLaunches({ ...whole, ...lacking });
    const obstacles = await secure.obstacles({ uid: me });
    t.regex(obstacles.secure ?? '', why);
    const { refused } = choose({
      application: { id: 'x', facts: {} },
      recognised: { by: 'nothing' },
      obstacles,
      wish: 'secure',
    });
    t.is(refused, obstacles.secure);
  }
  // What goes wrong on the way, whatever it is, is a refusal to start.
  const home = () => Promise.reject(new Error('the disk is gone'));
  const broken = new SecureLaunches({ ...whole, home });
  await t.throwsAsync(broken.way({ app: 'x' }, { uid: me }), { code: 'profile-unavailable' });
});

/** An application that runs apart until it reads a line, with these grants. */
async function begun(t: ExecutionContext, grants: readonly string[]) {
  const words = [...becoming(me), ground.launcher, ...asked, ...grants, 'keys', '--'];
  const [file = '', ...args] = [...words, 'sh', '-c', 'cd /; echo begun; read line'];
  const child = spawn(file, args, {
    env: { PERSONA_ROOT: ground.daemon.root, PATH: '/usr/bin:/bin' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.teardown(() => child.kill('SIGKILL'));
  await once(createInterface({ input: child.stdout }), 'line');
  return { child, ended };
}

real(
  'what runs apart is listed with what keeps it so, for its user and root, and its enclave stays open',
  async (t) => {
    const { child, ended } = await begun(t, ['--net']);
    const seen = async (uid: number) =>
      ((await ground.ask(uid, 'launch.apart', {})).result as Answer<'launch.apart'>).applications;
    const [mine] = await seen(me);
    t.like(mine, { app: 'keys', pid: child.pid, uid: me, enclave: 'vault', hardwareUsed: false });
    t.regex(mine?.granted.join() ?? '', /network of the machine/);
    t.notRegex(mine?.apart.join() ?? '', /network: it has none/);
    t.regex(mine?.reach.join() ?? '', /root: everything/);
    t.regex(mine?.protection ?? '', /no-execute pages/);
    t.regex(mine?.sameUser ?? '', /read its memory|no program may read/);
    t.deepEqual(await seen(users.user), []);
    t.is((await seen(0)).length, 1);
    const { error } = await ground.ask(me, 'enclave.close', { enclave: 'vault', wait: true });
    t.truthy(error, 'a program is inside');
    child.stdin.end('\n');
    await ended;
    t.deepEqual(await seen(me), []);
  },
);

real('a dry run tells the same, and starts nothing', async (t) => {
  const asked = { app: 'keys', profile: 'secure', grants: ['bus', { show: '/srv' }], dryRun: true };
  const plan = (await ground.ask(me, 'launch.plan', asked)).result as Answer<'launch.plan'>;
  t.is(plan.profile, 'secure');
  t.regex(plan.assurance?.granted.join() ?? '', /session bus.*\/srv, to read/);
  t.deepEqual((await ground.ask(me, 'launch.apart', {})).result, { applications: [], more: 0 });
  const bad = await ground.ask(me, 'launch.plan', { ...asked, grants: ['root'] });
  t.is(bad.error?.code, 'bad-request');
});

real('who grants something, and gets a program that is not kept apart, gets none', async (t) => {
  for (const asked of [{ grants: ['net'] }, { enclave: 'keys' }]) {
    const { error } = await ground.ask(me, 'launch.plan', { app: 'unheard-of', ...asked });
    t.is(error?.code, 'profile-unavailable');
    t.regex(error?.message ?? '', /for what runs apart, and it would start as standard/);
  }
});

real('nor does who grants something get less for what is only sensitive', async (t) => {
  const path = '/usr/bin/nl';
  const set = async (more: object) => {
    const asked = { app: 'chest', everybody: true, wait: true, ...more };
    t.is((await ground.ask(0, 'app.set', asked)).error, undefined);
  };
  await set({ set: { executables: [path], security: 'sensitive' } });
  const { dev, ino } = statSync(path, { bigint: true });
  const executable = { path, device: `${dev}`, inode: `${ino}` };
  const plan = (uid: number, more: object) =>
    ground.ask(uid, 'launch.plan', { app: 'chest', executable, ...more });
  // A user without an enclave, and one who mistypes his.
  for (const [uid, more, why] of [
    [users.user, { grants: ['net'] }, /this user has none/],
    [me, { enclave: 'vaults' }, /none called vaults/],
  ] as const) {
    const { error } = await plan(uid, more);
    t.is(error?.code, 'profile-unavailable');
    t.regex(error?.message ?? '', why);
  }
  const line = ['chest', '--', 'nl', '/dev/null'];
  t.is((await ground.run(users.user, ['--net', ...line])).status, 125);
  t.is((await ground.run(me, ['--enclave', 'vaults', ...line])).status, 125);
  // Without a word it starts, as it may.
  const { result } = await plan(users.user, {});
  t.like(result, { profile: 'standard', rule: 'sensitive' });
  t.is((await ground.run(users.user, line)).status, 0);
  await set({ unset: ['executables', 'security'] });
});

test('a list that would be too long for an answer is cut, and says so', (t) => {
  const run = temporaryFolder(t);
  const secure = new SecureLaunches(machineWithout(run));
  const uid = process.getuid?.() ?? 0;
  const disk = 'd'.repeat(64 * 1024);
  const launch = { uid, grants: [], enclave: 'vault', disk, landlock: 0 };
  for (let i = 0; i < 20; i++) secure.began({ ...launch, app: `app${i}` }, { pid: process.pid });
  const { applications, more } = secure.list({ uid });
  t.is(applications.length + more, 20);
  t.true(more > 0);
  t.is(applications[0]?.app, 'app19');
});

real('what is stated to run apart is refused, whatever goes wrong on the way', async (t) => {
  const path = '/usr/bin/fold';
  const set = async (more: object) => {
    const asked = { app: 'teller', everybody: true, wait: true, ...more };
    t.is((await ground.ask(0, 'app.set', asked)).error, undefined);
  };
  await set({ set: { executables: [path], profile: 'secure' } });
  const { dev, ino } = statSync(path, { bigint: true });
  const executable = { path, device: `${dev}`, inode: `${ino}` };
  const planned = () => ground.ask(me, 'launch.plan', { app: 'teller', executable });
  t.is(((await planned()).result as Answer<'launch.plan'>).profile, 'secure');
  // Who runs apart cannot be noted.
  const notes = join(ground.daemon.run, 'apart');
  rmSync(notes, { recursive: true });
  t.teardown(() => rmSync(notes, { recursive: true, force: true }));
  writeFileSync(notes, '');
  const { error } = await planned();
  t.is(error?.code, 'profile-unavailable');
  t.regex(error?.message ?? '', /cannot start teller as secure: .*apart/);
  rmSync(notes);
  t.is((await planned()).error, undefined);
  await set({ unset: ['executables', 'profile'] });
});

real('a thousand at once start apart, or are refused within their deadline', async (t) => {
  const many = 1000;
  // Each says where it is at home, or else the launcher's status.
  const script =
    'for i in $(seq "$1"); do { "$0" --profile secure x -- sh -c "echo \\$HOME" || echo "$?"; } & done; wait';
  const [file = '', ...args] = [...becoming(me), 'sh', '-c', script, ground.launcher, String(many)];
  const child = spawn(file, args, {
    env: { PERSONA_ROOT: ground.daemon.root, PATH: '/usr/bin:/bin', HOME: '/outside' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', err: '' };
  child.stdout.on('data', (piece) => (said.out += String(piece)));
  child.stderr.on('data', (piece) => (said.err += String(piece)));
  await once(child, 'close');
  const lines = said.out.trimEnd().split('\n');
  const started = lines.filter((line) => line === '/home/user').length;
  const refused = lines.filter((line) => line === '125').length;
  t.true(started > 0);
  t.deepEqual([lines.length, started + refused], [many, many], said.err);
  const refusals = said.err.match(/cannot (start x as secure|take more requests)/g)?.length ?? 0;
  t.is(refusals, refused, said.err);
  // Places of this user may be taken for a moment more; root has its own.
  t.deepEqual((await ground.ask(0, 'launch.apart', {})).result, { applications: [], more: 0 });
});

real('what runs apart is listed by the next daemon as by the one that was killed', async (t) => {
  const { child, ended } = await begun(t, ['--show', '/srv']);
  const seen = async () =>
    ((await ground.ask(me, 'launch.apart', {})).result as Answer<'launch.apart'>).applications;
  const before = await seen();
  t.is(before[0]?.pid, child.pid);
  await ground.daemon.end('SIGKILL');
  const notes = join(ground.daemon.run, 'apart');
  const [own = ''] = readdirSync(notes);
  const note = readFileSync(join(notes, own), 'utf8');
  // Half written; of another process by the same number; of another boot; of nothing.
  const { pid, startTime } = processStat(process.pid) ?? { pid: 0, startTime: 0 };
  writeFileSync(join(notes, `${pid}-${startTime}`), note.slice(0, 40));
  writeFileSync(join(notes, `${child.pid}-1`), note);
  writeFileSync(
    join(notes, `${process.ppid}-${processStat(process.ppid)?.startTime}`),
    note.replace(/"boot":"[^"]+"/, '"boot":"x"'),
  );
  writeFileSync(join(notes, 'name'), note);
  await startLive(scope, ground.daemon.root);
  t.deepEqual(await seen(), before);
  t.deepEqual(readdirSync(notes), [own]);
  child.stdin.end('\n');
  await ended;
  t.deepEqual(await seen(), []);
  t.deepEqual(readdirSync(notes), []);
});
