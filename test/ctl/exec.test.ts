import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { launchWords } from '../../ctl/launch/sandbox.ts';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { fakeDaemon } from './fake-daemon.ts';

const main = join(import.meta.dirname, '../../ctl/main.ts');
const needs = { tools: ['bwrap', 'env', 'sh'], other: namespacesMissing };

/** Why bubblewrap cannot make its namespaces here. */
function namespacesMissing(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root, or user namespaces';
}

/** A seccomp program that allows everything: one instruction, return ALLOW. */
const allowAll = Buffer.from('06000000 0000ff7f'.replace(' ', ''), 'hex').toString('base64');

/** A daemon whose plan runs programs in the tree of this machine. */
async function slotDaemon(t: ExecutionContext, more: string[] = []) {
  const daemon = await fakeDaemon(t, {
    'slot.exec': () => ({
      slot: 'desk',
      generation: 1,
      argv: [
        ...['/usr/bin/bwrap', '--unshare-pid', '--ro-bind', '/', '/', '--dev', '/dev'],
        ...['--proc', '/proc', '--seccomp', '3', ...more, '--'],
      ],
      environment: { PATH: '/usr/bin:/bin', MARK: 'set' },
      seccomp: { fd: 3, program: allowAll },
      notes: ['a note'],
    }),
  });
  mkdirSync(join(daemon.root, 'run/slots/desk'), { recursive: true });
  symlinkSync('/', join(daemon.root, 'run/slots/desk/root'));
  return daemon;
}

/** The tool in a process of its own; killed with the test. */
function start(t: ExecutionContext, root: string, ...words: string[]): ChildProcess {
  const child = spawn(process.execPath, ['--no-warnings', main, ...words], {
    env: { PERSONA_ROOT: root, LANG: 'C.UTF-8', TERM: 'xterm', PATH: process.env.PATH },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  t.teardown(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // Gone already.
    }
  });
  return child;
}

async function ended(child: ChildProcess) {
  let [out, err] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  const [status, signal] = await once(child, 'close');
  return { status, signal, out, err };
}

/** Resolves when the child has written `text`. */
function written(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve) => {
    let all = '';
    child.stdout?.on('data', (chunk) => {
      all += chunk;
      if (all.includes(text)) resolve();
    });
  });
}

when(test, needs)(
  "the program has our streams, the plan's environment and nothing else",
  async (t) => {
    const { root, calls } = await slotDaemon(t);
    const script = 'cat; echo "$MARK $TERM [$PERSONA_ROOT]"; ls /proc/self/fd | wc -l';
    const child = start(
      t,
      root,
      'exec',
      'desk',
      '--net',
      '--show',
      '/srv',
      '--',
      'sh',
      '-c',
      script,
    );
    child.stdin?.end('from stdin\n');
    const { status, out, err } = await ended(child);
    t.deepEqual([status, err], [0, 'a note\n']);
    t.is(out, 'from stdin\nset xterm []\n4\n');
    t.deepEqual(calls[0]?.params, {
      slot: 'desk',
      grants: { net: true, folders: [{ path: '/srv' }] },
    });
  },
);

when(test, needs)('the exit status is that of the program', async (t) => {
  const { root } = await slotDaemon(t);
  const statusOf = async (...command: string[]) =>
    (await ended(start(t, root, 'exec', 'desk', '-q', '--', ...command))).status;
  t.is(await statusOf('true'), 0);
  t.is(await statusOf('sh', '-c', 'exit 42'), 42);
  t.is(await statusOf('sh', '-c', 'kill -9 $$'), 137);
  t.is(await statusOf('no-such-program'), 127);
  t.is(await statusOf('/etc/passwd'), 126);
  t.is(await statusOf('A=1'), 127);
});

when(test, needs)('what cannot be looked for is not there', async (t) => {
  const { root } = await slotDaemon(t);
  const loop = join(temporaryFolder(t), 'loop');
  symlinkSync('loop', loop);
  for (const command of [`${loop}/A=1`, `A=${'1'.repeat(300)}`]) {
    const { status } = await ended(start(t, root, 'exec', 'desk', '-q', '--', command));
    t.is(status, 127, command);
  }
});

when(test, needs)('what the machine refuses to the tool is status 125', async (t) => {
  const { root } = await slotDaemon(t);
  const script = 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$@"';
  for (const words of [
    ['exec', 'desk'],
    ['run', 'desk'],
  ]) {
    const tool = [process.execPath, '--no-warnings', main, ...words, '--show', 'x', '--', 'true'];
    const child = spawn('sh', ['-c', script, 'sh', ...tool], {
      env: { PERSONA_ROOT: root, PATH: process.env.PATH },
      timeout: 60_000,
    });
    const { status, err } = await ended(child);
    t.regex(err, /cannot find the current folder/);
    t.is(status, 125);
  }
});

when(test, needs)('a sandbox that cannot be made is status 125', async (t) => {
  const { root } = await slotDaemon(t, ['--bind', '/no-such-folder', '/x']);
  const { status, err } = await ended(start(t, root, 'exec', 'desk', '--', 'true'));
  t.is(status, 125);
  t.regex(err, /no-such-folder/);
});

when(test, needs)(
  'Ctrl-C reaches the program, and ends neither the sandbox nor the tool',
  async (t) => {
    const { root } = await slotDaemon(t);
    const script = 'trap "echo heard" INT QUIT; echo ready; read line; echo $line';
    const child = start(t, root, 'exec', 'desk', '--', 'sh', '-c', `${script}; ${script}; exit 3`);
    const whole = ended(child);
    await written(child, 'ready');
    // As a terminal does it: to everyone in the process group.
    const heard = written(child, 'heard');
    process.kill(-(child.pid ?? 0), 'SIGINT');
    await heard;
    child.stdin?.end('one\ntwo\nthree\n');
    const { status, out } = await whole;
    t.is(status, 3);
    t.true(out.startsWith('ready\nheard\n'));
  },
);

when(test, needs)('SIGTERM is passed on, and the program may end in order', async (t) => {
  const { root } = await slotDaemon(t);
  const script =
    'trap "echo bye; exit 9" TERM; echo ready; while :; do read line || sleep 0.01; done';
  const child = start(t, root, 'exec', 'desk', '--', 'sh', '-c', script);
  const whole = ended(child);
  await written(child, 'ready');
  child.kill('SIGTERM');
  const { status, out } = await whole;
  t.deepEqual([status, out], [9, 'ready\nbye\n']);
});

when(test, needs)(
  'a signal to the whole process group leaves the status to the program',
  async (t) => {
    const { root } = await slotDaemon(t);
    // As `kill %1`, `timeout` and a service manager do it: the program may have ended before we hear of it.
    const script = 'trap "exit 9" TERM; echo ready; while :; do read line || sleep 0.01; done';
    for (const [command, expected] of [
      [['sh', '-c', script], 9],
      [['sh', '-c', 'echo ready; exec sleep 60'], 143],
    ] as const)
      for (let round = 0; round < 8; round += 1) {
        const child = start(t, root, 'exec', 'desk', '--', ...command);
        const whole = ended(child);
        await written(child, 'ready');
        process.kill(-(child.pid ?? 0), 'SIGTERM');
        t.is((await whole).status, expected);
      }
  },
);

test('our words stand in their places', (t) => {
  const wrap = { outside: ['env', '-x'], inside: ['env', '-y'] };
  t.deepEqual(launchWords(['/usr/bin/bwrap', '--a', '--'], wrap, ['ls', '--'], 4), [
    ...[
      'env',
      '-x',
      '/usr/bin/bwrap',
      '--a',
      '--json-status-fd',
      '4',
      '--',
      'env',
      '-y',
      'ls',
      '--',
    ],
  ]);
  const none = { outside: [], inside: [] };
  t.deepEqual(launchWords(['nsenter', '-u', '--', '/usr/bin/bwrap', '--'], none, ['ls'], 5), [
    ...['nsenter', '-u', '--', '/usr/bin/bwrap', '--json-status-fd', '5', '--', 'ls'],
  ]);
  t.deepEqual(launchWords(['other', '--'], none, ['ls'], 5), ['other', '--', 'ls']);
});
