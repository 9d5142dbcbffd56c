import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'ava';
import type { Answer } from '../../ipc/methods/index.ts';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, users } from './installed.ts';

// Programs that are started through the installed service: systemd alone makes their groups.

/** A user's manager without the session that PAM would make: this Debian has none. */
const plainSession = `[Service]
PAMName=
Environment=XDG_RUNTIME_DIR=/run/user/%i
`;
const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, {
      suite: 'trixie',
      files: { '/etc/systemd/system/user@.service.d/plain.conf': plainSession },
    });
  });
  test.after.always(() => scope.end());
}

type Found = Answer<'launch.list'>;
const slice = `user-${users.user}.slice`;
const below = `/user.slice/${slice}`;

/** Words of a command that runs it as the user, in a group of his slice: `unit` is what it is called. */
const inScope = (unit: readonly string[], ...argv: string[]): string[] => [
  'systemd-run',
  '--scope',
  '--quiet',
  `--uid=${users.user}`,
  `--slice=${slice}`,
  ...unit,
  '--',
  ...argv,
];
/** The same in a group as a session is. */
const inSession = (...argv: string[]): string[] => inScope([], ...argv);

/** A program that runs until its input ends. It has said its number when this comes back. */
async function running(argv: readonly string[]) {
  const child = machine.spawn(argv);
  const ended = once(child, 'close');
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const begun = once(createInterface({ input: child.stdout! }), 'line');
  const line = await Promise.race([begun, ended.then(() => Promise.reject(new Error(said)))]);
  const pid = String(line);
  const end = async () => {
    child.stdin!.end();
    await ended;
  };
  return { pid, end };
}

const waits = ['sh', '-c', 'echo $$; read line'];
const groupOf = async (pid: string): Promise<string> =>
  /^0::(.*)$/m.exec(await machine.ok(['cat', `/proc/${pid}/cgroup`]))?.[1] ?? '';

/** The unit of its own that a program is in, once it is there. */
async function unitOf(pid: string, app: RegExp): Promise<string> {
  let group = '';
  await machine.until(`${pid} in a unit like ${app}`, async () => {
    group = await groupOf(pid);
    return app.test(group);
  });
  return group.slice(group.lastIndexOf('/') + 1);
}

const own = ['env', `XDG_RUNTIME_DIR=/run/user/${users.user}`];
const becomesUser = ['setpriv', '--reuid', `${users.user}`, '--regid', `${users.user}`];
/** Words of a command that runs it as the user, in a scope of his own manager as desktops and terminals do. */
const inApp = (unit: string, ...argv: string[]): string[] => [
  ...[...becomesUser, '--clear-groups', '--', ...own],
  ...['systemd-run', '--user', '--scope', '--quiet', '--slice=app.slice', `--unit=${unit}`, '--'],
  ...argv,
];

const foundBy = async (who: 'user') =>
  (await machine.asked(['app', 'running'], as(machine, who))).value as Found;

/** An application, started by a program file of its own that is a shell. */
async function known(app: string, ...words: string[]): Promise<void> {
  await machine.ok(['cp', '/usr/bin/dash', `/usr/bin/${app}`]);
  await machine.tool(['app', 'set', app, '--executable', `/usr/bin/${app}`, '--all', ...words]);
}

const units = async (): Promise<string[]> =>
  (await machine.ok(['systemctl', 'list-units', '--plain', '--no-legend', 'app-personad-*']))
    .split('\n')
    .filter(Boolean);
const noneLeft = () => machine.until('no unit is left', async () => (await units()).length === 0);

when(test, needs)('a launch is put into a scope beside the sessions of its user', async (t) => {
  const program = await running(inSession('persona-run', 'org.example.My-Editor', '--', ...waits));
  const unit = await unitOf(program.pid, /app-personad/);
  t.regex(unit, /^app-personad-org\.example\.My\\x2dEditor-[0-9a-f]{12}\.scope$/);
  t.is(await machine.property(unit, 'Slice'), slice);
  t.is(await machine.property(unit, 'ControlGroup'), `${below}/${unit.replaceAll('\\', '\\')}`);
  t.is(await machine.property(unit, 'ActiveState'), 'active');
  const pid = await machine.daemonPid();
  await machine.crash();
  await machine.untilReady(pid);
  t.is(await groupOf(program.pid), `${below}/${unit}`, 'it outlives the daemon');
  const { applications } = (await machine.asked(['app', 'running'])).value as Found;
  t.like(applications[0], { app: 'org.example.My-Editor', owner: users.user, rule: 'unknown' });
  t.is(applications[0]?.reason, 'nothing is known of this program', 'and says what it was');
  await program.end();
  await noneLeft();
});

when(test, needs)('what it has forked goes with it', async (t) => {
  const forks = 'for i in 1 2 3 4 5; do sleep 600 & done; echo $$; wait';
  const program = await running(inSession('persona-run', 'forks', '--', 'sh', '-c', forks));
  const unit = await unitOf(program.pid, /app-personad-forks/);
  const list = `/sys/fs/cgroup${below}/${unit}/cgroup.procs`;
  const inside = async () => (await machine.ok(['cat', list])).trim().split('\n');
  await machine.until('all are there', async () => (await inside()).length === 6);
  await machine.ok(['systemctl', 'stop', unit]);
  await program.end();
  await noneLeft();
  t.pass();
});

when(test, needs)('what is known of it weighs; its user may only lower that', async (t) => {
  const paint = '/usr/bin/paint';
  await machine.ok(['cp', '/usr/bin/dash', paint]);
  const weights = async (app: string) => {
    const program = await running(inSession('persona-run', app, '--', paint, ...waits.slice(1)));
    const unit = await unitOf(program.pid, /app-personad/);
    const names = ['CPUWeight', 'IOWeight', 'MemoryLow'];
    const found = await Promise.all(names.map((name) => machine.property(unit, name)));
    await program.end();
    return found.map((one) => (one === '[not set]' ? '' : one)).join();
  };
  const said = (app: string, ...words: string[]) =>
    machine.tool(['app', 'set', app, '--executable', paint, '--all', ...words]);
  t.is(await weights('nothing-said'), ',,0');
  await said('game', '--cpu', 'high', '--memory', '100M');
  t.is(await weights('game'), `300,300,${100 * 1024 ** 2}`);
});

when(test, needs)('a service keeps what it starts, with its limits', async (t) => {
  const program = await running([
    'systemd-run',
    '--scope',
    '--quiet',
    '--slice=system.slice',
    `--uid=${users.user}`,
    '--',
    'persona-run',
    'kept',
    '--',
    ...waits,
  ]);
  const answer = await machine.asked(['app', 'list']);
  t.is(answer.status, 0);
  t.regex(await groupOf(program.pid), /^\/system\.slice\/run-/);
  await program.end();
});

when(test, needs)('two hundred at once', async (t) => {
  const script = 'for i in $(seq 200); do persona-run x -- echo on & done; wait';
  const { stdout, stderr, status } = await machine.run(inSession('sh', '-c', script));
  t.is(status, 0, stderr);
  t.is(stdout, 'on\n'.repeat(200));
  await noneLeft();
});

when(test, needs)(
  'what desktops start is found, weighed, and what must be kept apart is told',
  async (t) => {
    await machine.ok(['systemctl', 'start', `user@${users.user}.service`]);
    const user = as(machine, 'user');
    const found = () => foundBy('user');
    await known('draw', '--cpu', 'background');
    await known('vault', '--security', 'required');
    const begin = (app: string) =>
      running(inApp(`app-other-${app}.scope`, `/usr/bin/${app}`, ...waits.slice(1)));
    const askedMs = Date.now();
    const draw = await begin('draw');
    await machine.until('it is found', async () => (await found()).applications.length === 1);
    const [one] = (await found()).applications;
    t.like(one, { app: 'draw', by: 'found', owner: users.user, profile: 'standard' });
    t.regex(
      one?.group ?? '',
      new RegExp(`${slice}/user@${users.user}.service/app.slice/app-other-draw.scope$`),
    );
    const weight = async () =>
      (
        await machine.ok(
          [
            ...own,
            'systemctl',
            '--user',
            'show',
            '--property=CPUWeight',
            '--value',
            'app-other-draw.scope',
          ],
          user,
        )
      ).trim();
    await machine.until('it is weighed', async () => (await weight()) === '20');
    // Its user's manager writes down what it is given.
    const given = ['-path', '*draw*', '-name', '50-CPUWeight.conf', '-printf', '%T@'];
    const applied = await machine.ok(['find', `/run/user/${users.user}/systemd`, ...given]);
    const ms = Math.round(Number(applied) * 1000 - askedMs);
    t.log(`weighed ${ms} ms after its start was asked of the user's manager`);
    t.deepEqual((await machine.asked(['app', 'running'], as(machine, 'other'))).value, {
      apiVersion: 1,
      applications: [],
      more: 0,
    });
    // A daemon that starts finds it again.
    await machine.ok(['systemctl', 'restart', 'personad.service']);
    await machine.until('it is found', async () => (await found()).applications.length === 1);
    const vault = await begin('vault');
    const told = async () => JSON.stringify((await machine.asked(['status'])).value);
    await machine.until('it is told', async () => /must be kept apart/.test(await told()));
    t.regex((await found()).applications[0]?.violation ?? '', /past personad; it goes on/);
    await draw.end();
    await vault.end();
    await machine.until('both have ended', async () => (await found()).applications.length === 0);
    await machine.ok(['systemctl', 'stop', `user@${users.user}.service`]);
  },
);

when(test, needs)(
  'what is typed in a session or a terminal is found, and no session loses it',
  async (t) => {
    await machine.ok(['systemctl', 'start', `user@${users.user}.service`]);
    await known('ink', '--cpu', 'background');
    await known('safe', '--security', 'required');
    await known('term', '--memory', '10M');
    const found = async (app: string) =>
      (await foundBy('user')).applications.find((one) => one.app === app);
    const begin = (app: string) => [`/usr/bin/${app}`, ...waits.slice(1)];
    /** A shell that stays beside what it starts, which tells its number. */
    const typed = (app: string, shell = 'sh') => [
      shell,
      '-c',
      `/usr/bin/${app} -c 'echo $$; read line'; exit`,
    ];
    const inLogin = (number: number, ...argv: string[]) =>
      inScope([`--unit=session-${number}.scope`], ...argv);
    const files = ['ls', '-l', `/proc/${await machine.daemonPid()}/fd`];
    await machine.until('the kernel tells of starts', async () =>
      (await machine.ok(files)).includes('[fanotify]'),
    );
    // In a session: told, and left there.
    const ink = await running(inLogin(77, ...begin('ink')));
    const safe = await running(inLogin(78, ...typed('safe')));
    await machine.until('both are told', async () =>
      Boolean((await found('ink')) && (await found('safe'))?.violation),
    );
    t.like(await found('ink'), {
      ...{ by: 'found', owner: users.user, profile: 'standard' },
      group: `${below}/session-77.scope`.slice(1),
      memoryBytes: undefined,
    });
    t.regex(
      (await found('ink'))?.reason ?? '',
      /nothing is set for it: it stays in its session \(session-77\.scope\)$/,
    );
    t.regex((await found('safe'))?.violation ?? '', /past personad; it goes on$/);
    t.is(await groupOf(ink.pid), `${below}/session-77.scope`);
    t.is(await groupOf(safe.pid), `${below}/session-78.scope`);
    t.regex(JSON.stringify((await machine.asked(['status'])).value), /must be kept apart/);
    await ink.end();
    await safe.end();
    await machine.until(
      'both have ended',
      async () => (await foundBy('user')).applications.length === 0,
    );
    // In a terminal: put beside it, with its weights.
    const line = await running(inApp('vte-spawn-1.scope', ...typed('ink')));
    const unit = await unitOf(line.pid, /app-personad-ink/);
    t.is(await machine.property(unit, 'CPUWeight'), '20');
    t.like(await found('ink'), { by: 'found', group: `user.slice/${slice}/${unit}` });
    const shell = await machine.ok([
      'cat',
      `/sys/fs/cgroup${below}/user@${users.user}.service/app.slice/vte-spawn-1.scope/cgroup.procs`,
    ]);
    t.not(shell.trim(), '', 'its shell stays');
    await line.end();
    // In a group that the desktop has made for another application.
    const masked = await running(inApp('app-other-term.scope', ...typed('safe', '/usr/bin/term')));
    await unitOf(masked.pid, /app-personad-safe/);
    await machine.until('it is told', async () => Boolean((await found('safe'))?.violation));
    t.regex((await found('term'))?.group ?? '', /app-other-term\.scope$/);
    await masked.end();
    // Whatever it is in, it is ended where an administrator wants that.
    const stated = '/etc/persona/conf.d/kill.toml';
    const words = `mkdir -p /etc/persona/conf.d; printf '[profiles]\\nviolation = "kill"\\n' > ${stated}`;
    await machine.ok(['sh', '-c', words]);
    await machine.ok(['systemctl', 'restart', 'personad.service']);
    const script = "/usr/bin/safe -c 'sleep 600; exit'; exit";
    const killed = await machine.run(inLogin(79, 'sh', '-c', script));
    t.is(killed.status, 128 + 9);
    await machine.ok(['rm', stated]);
    await machine.ok(['systemctl', 'restart', 'personad.service']);
    await machine.ok(['systemctl', 'stop', `user@${users.user}.service`]);
    await noneLeft();
  },
);
