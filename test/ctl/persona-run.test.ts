import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { planListMax } from '../../ipc/values.ts';
import { compileLauncher } from '../../scripts/launcher.ts';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import {
  answered,
  frame,
  type Launched,
  launched,
  launcherNeeds,
  plan,
  rawDaemon,
  sanitizerFlags,
  sanitizersMissing,
} from './launch-plans.ts';

// The launcher and the tool do the same: each test of a plan runs both.

const built = when(test, launcherNeeds);
const main = join(import.meta.dirname, '../../ctl/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
const launcher = join(folder, 'persona-run');
const PATH = '/usr/local/bin:/usr/bin:/bin';

test.before(() => {
  compileLauncher(launcher);
});
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

type Both = [native: Launched, tool: Launched];

/** The same words to both, as `COMMAND` after `run`. */
async function both(
  root: string,
  words: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
  run = answered,
): Promise<Both> {
  const all = { PATH, PERSONA_ROOT: root, ...env };
  return await Promise.all([
    run(launcher, words, all, cwd),
    run(process.execPath, ['--no-warnings', main, 'run', ...words], all, cwd),
  ]);
}

const same = (t: ExecutionContext, [native, tool]: Both, status: number, out: string) => {
  for (const one of [native, tool]) t.deepEqual([one.status, one.out], [status, out], one.err);
};

built('without a daemon the program starts as it always has, and that is said', async (t) => {
  const root = temporaryFolder(t);
  const line = ['editor', '--', 'sh', '-c', 'echo "$0 $1"; exit 7', 'a b', 'c'];
  const plain = await both(root, line);
  same(t, plain, 7, 'a b c\n');
  for (const { err } of plain) t.regex(err, /editor starts as standard: .*daemon/);
  const quiet = await both(root, ['--quiet', ...line]);
  same(t, quiet, 7, 'a b c\n');
  for (const { err } of quiet) t.is(err, '');
  const secure = await both(root, ['--profile', 'secure', ...line]);
  same(t, secure, 125, '');
});

built('a plan is followed: words before, environment, notices, and nothing else', async (t) => {
  const daemon = await rawDaemon(t);
  const environment = {
    set: { ADDED: 'new "value"\n\u{1F600}', KEPT: 'changed' },
    unset: ['GONE'],
  };
  const notices = ['a notice \u001b[31m'];
  const argv = ['/usr/bin/env', 'PREFIX=set'];
  const answer = frame({ result: plan({ argv, environment, notices }) });
  // In pieces, and in an order of members that is not ours.
  daemon.say = { pieces: [...answer].map((one) => Buffer.from(one)) };
  const env = { KEPT: 'old', GONE: 'x', OTHER: 'stays', GONER: 'stays too' };
  const given = await both(daemon.root, ['editor', '--', 'env', '-0'], env);
  const lines = given.map(({ out }) => out.split('\0').sort());
  for (const found of lines)
    t.deepEqual(found, [
      '',
      'ADDED=new "value"\n\u{1F600}',
      'GONER=stays too',
      'KEPT=changed',
      'OTHER=stays',
      `PATH=${PATH}`,
      `PERSONA_ROOT=${daemon.root}`,
      'PREFIX=set',
    ]);
  for (const { err } of given) {
    t.regex(err, /a notice/);
    t.notRegex(err, /\u001b/);
  }
});

/** A file that stands for a filter, with a name that a shell would take apart. */
function filterFile(t: ExecutionContext): string {
  const file = join(temporaryFolder(t), 'filter "1"');
  writeFileSync(file, 'the filter');
  return file;
}

built(
  'what is kept of the environment, and nothing else; the filter, and no other descriptor',
  async (t) => {
    const daemon = await rawDaemon(t);
    const filter = filterFile(t);
    const script = 'cat <&3; echo; for fd in /proc/self/fd/*; do echo "$fd"; done; env -0';
    const argv = ['/bin/sh', '-c', 'shift; exec "$@"', 'behind', 'x'];
    const environment = {
      set: { HOME: '/inside' },
      unset: ['LANG'],
      keep: ['PATH', 'LANG', 'HOME'],
    };
    daemon.say = { pieces: [frame({ result: plan({ argv, environment, filter }) })] };
    const env = { LANG: 'C', HOME: '/home', NODE_OPTIONS: '', LD_PRELOAD: '', PATHS: '', PAT: '' };
    // Descriptors 7 and 9 are open in their caller.
    const line = ['-c', 'exec 7</ 9</ "$0" "$@"'];
    const words = ['x', '--', 'sh', '-c', script];
    const given = await both(daemon.root, words, env, '/', (file, args, all, cwd) =>
      answered('sh', [...line, file, ...args], all, cwd),
    );
    for (const { status, out, err } of given) {
      t.is(status, 0, err);
      const [said, ...rest] = out.replaceAll('/proc/self/fd/', '').split('\n');
      t.is(said, 'the filter');
      const variables = rest.pop()?.split('\0') ?? [];
      // The shell itself has opened the folder that it lists.
      t.deepEqual(
        rest.filter((fd) => Number(fd) < 10 && fd !== '4'),
        ['0', '1', '2', '3'],
      );
      t.deepEqual(variables.filter((one) => !/^(_|PWD|SHLVL|OLDPWD)=/.test(one)).sort(), [
        '',
        'HOME=/inside',
        `PATH=${PATH}`,
      ]);
    }
    const absent = plan({ argv, environment, filter: `${filter}-not` });
    daemon.say = { pieces: [frame({ result: absent })] };
    for (const { status, out } of await both(daemon.root, ['x', '--', 'echo', 'on'])) {
      t.not(status, 0);
      t.is(out, '');
    }
  },
);

built('a plan of the greatest size is followed, and one that is larger is none', async (t) => {
  const daemon = await rawDaemon(t);
  const words = Array.from({ length: planListMax - 2 }, (_, i) => `A${i}=${i}`);
  const environment = {
    set: Object.fromEntries(words.concat('B=1', 'C=2').map((one) => one.split('='))),
    unset: Array.from({ length: planListMax }, (_, i) => `GONE${i}`),
    keep: Array.from({ length: planListMax }, (_, i) => (i === 0 ? 'PATH' : `STAYS${i}`)),
  };
  const argv = ['/usr/bin/env', '-i', ...words];
  daemon.say = { pieces: [frame({ result: plan({ argv, environment }) })] };
  const env = { GONE511: 'x', STAYS511: 'x' };
  const [native, tool] = await both(daemon.root, ['x', '--', '/usr/bin/env'], env);
  for (const one of [native, tool]) t.is(one.out, `${words.join('\n')}\n`, one.err);
  const larger = [
    { argv: [...argv, 'A=1'] },
    { environment: { ...environment, keep: [...environment.keep, 'X'] } },
    { environment: { set: { ...environment.set, D: '3' }, unset: [] } },
    { environment: { set: {}, unset: [...environment.unset, 'X'] } },
    { environment: { set: { 'a=b': 'c' }, unset: [] } },
    { environment: { set: { A: 'x\0y' }, unset: [] } },
    { argv: ['env'] },
    { argv: [], filter: '/dev/null' },
    { argv: ['/usr/bin/env', 'x'.repeat(70_000)] },
  ];
  for (const more of larger) {
    daemon.say = { pieces: [frame({ result: plan(more) })] };
    const given = await both(daemon.root, ['x', '--', 'echo', 'on']);
    same(t, given, 0, 'on\n');
    for (const { err } of given) t.regex(err, /x starts as standard: .*makes no sense|too long/);
  }
});

built('both ask the same, with the file that is started', async (t) => {
  const daemon = await rawDaemon(t);
  daemon.say = { pieces: [frame({ result: plan({ profile: 'secure' }) })] };
  const place = join(temporaryFolder(t), 'odd "name"\twith \\ and \u00e4');
  mkdirSync(place);
  symlinkSync('/bin/sh', join(place, 'shell'));
  const given = await both(
    daemon.root,
    [
      ...['--net', '--profile', 'fast', '--enclave', 'vault', '--wayland', '--agent'],
      ...[
        '--show',
        place,
        '--share',
        '/srv',
        'org.example.Editor',
        '--',
        './shell',
        '-c',
        'echo $0',
      ],
    ],
    {},
    place,
  );
  same(t, given, 0, './shell\n');
  const [one, other] = daemon.requests.map((text) => JSON.parse(text.slice(0, -1)));
  t.deepEqual(one, other);
  t.like(one.data.params, { app: 'org.example.Editor', profile: 'fast', enclave: 'vault' });
  const granted = ['net', 'wayland', 'agent', { show: place }, { share: '/srv' }];
  t.deepEqual(one.data.params.grants, granted);
  t.regex(one.data.params.executable.path, /^\/.*sh$/);
  t.regex(`${one.data.params.executable.device} ${one.data.params.executable.inode}`, /^\d+ \d+$/);
});

built('the program has the signals of its caller, and its status', async (t) => {
  const daemon = await rawDaemon(t);
  daemon.say = { pieces: [frame({ result: plan() })] };
  const given = await both(daemon.root, ['x', '--', 'grep', '^SigIgn', '/proc/self/status']);
  same(t, given, 0, 'SigIgn:\t0000000000000000\n');
  for (const { signal } of await both(daemon.root, ['x', '--', 'sh', '-c', 'kill -PIPE $$']))
    t.is(signal, 'SIGPIPE');
});

built('what cannot be started is told apart', async (t) => {
  const daemon = await rawDaemon(t);
  daemon.say = { pieces: [frame({ result: plan() })] };
  const place = temporaryFolder(t);
  const script = join(place, 'script=1');
  writeFileSync(script, 'echo "script $*"\n');
  same(t, await both(daemon.root, ['x', '--', 'no-such-program']), 127, '');
  same(t, await both(daemon.root, ['x', '--', script]), 126, '');
  same(t, await both(daemon.root, ['x', '--', place]), 126, '');
  chmodSync(script, 0o755);
  // Without a first line, and with a name that looks like a variable: as from a shell.
  same(t, await both(daemon.root, ['x', '--', script, 'a', 'b']), 0, 'script a b\n');
  same(
    t,
    await both(daemon.root, ['x', '--', 'script=1', 'a'], { PATH: `${PATH}:${place}` }),
    0,
    'script a\n',
  );
  for (const words of [
    ...[['x'], ['x', '--'], ['x', 'sh'], ['--profile', 'best', 'x', '--', 'sh'], []],
    ...[['--root', 'x', '--', 'sh'], ['--show', 'relative', 'x', '--', 'sh'], ['--show']],
  ])
    t.is((await launched(launcher, words, {})).status, 125, words.join(' '));
});

when(test, { ...launcherNeeds, root: true, tools: ['cc', 'setpriv'] })(
  'in a folder that may not be entered there is no program',
  async (t) => {
    const root = temporaryFolder(t);
    const closed = join(root, 'closed');
    mkdirSync(closed, { mode: 0 });
    // Root that is held by modes as everybody is.
    const bare = ['--inh-caps=-all', '--bounding-set=-all', '--'];
    const asked = (command: string) =>
      both(
        root,
        ['x', '--', command],
        { PATH: `${closed}:/usr/bin:/bin` },
        '/',
        (file, words, env, cwd) => answered('setpriv', [...bare, file, ...words], env, cwd),
      );
    same(t, await asked('no-such-program'), 127, '');
    same(t, await asked('true'), 0, '');
  },
);

built('a refusal of secure starts nothing, any other starts as standard', async (t) => {
  const daemon = await rawDaemon(t);
  const refuse = (code: string) => {
    const error = { code, message: 'cannot do it: so', hint: 'do that', exit: 1 };
    daemon.say = { pieces: [frame({ error })] };
  };
  const line = ['x', '--', 'echo', 'started'];
  refuse('too-many-requests');
  same(t, await both(daemon.root, line), 0, 'started\n');
  const before = daemon.requests.length;
  same(t, await both(daemon.root, ['--profile', 'secure', ...line]), 125, '');
  t.true(daemon.requests.length - before > 4, 'both have come again');
  refuse('profile-unavailable');
  const closed = await both(daemon.root, line);
  same(t, closed, 125, '');
  for (const { err } of closed) t.regex(err, /cannot do it: so\n.*do that\n/);
  // A daemon that has another word than secure for what was to be secure.
  daemon.say = { pieces: [frame({ result: plan() })] };
  for (const words of [['--profile', 'secure'], ['--net'], ['--enclave', 'vault']])
    same(t, await both(daemon.root, [...words, ...line]), 125, '');
  daemon.say = { pieces: [frame({ result: plan({ profile: 'secure' }) })] };
  same(t, await both(daemon.root, ['--profile', 'secure', ...line]), 0, 'started\n');
});

built('a daemon that says nothing, or too little, holds nobody up', async (t) => {
  const daemon = await rawDaemon(t);
  const line = ['x', '--', 'echo', 'started'];
  const answer = frame({ result: plan() });
  const ways = [
    undefined,
    { pieces: [answer.slice(0, -1)] },
    { pieces: [answer.slice(0, 40)], end: true },
    { pieces: [], end: true },
    { pieces: ['{"type":"reply","data":{}}\f'] },
  ];
  for (const say of ways) {
    daemon.say = say;
    same(t, await both(daemon.root, line, {}, '/', launched), 0, 'started\n');
  }
  // What does not start without an answer waits longer for it, and comes again.
  const [, , , ended, senseless] = ways;
  for (const [say, words] of [
    [undefined, ['--profile', 'secure']],
    [ended, ['--net']],
    [senseless, ['--enclave', 'vault']],
  ] as const) {
    daemon.say = say;
    same(t, await both(daemon.root, [...words, ...line], {}, '/', launched), 125, '');
  }
});

/** Texts that are nearly answers: whole ones, cut, with bytes changed, or with odd members. */
const odd = fc.oneof(
  fc.json({ maxDepth: 20 }),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc
    .tuple(
      fc.record(
        {
          profile: fc.oneof(fc.constant('standard'), fc.anything()),
          argv: fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.anything()), {
            maxLength: 200,
          }),
          environment: fc.record({
            set: fc.oneof(
              fc.dictionary(fc.string(), fc.string({ unit: 'binary' }), { maxKeys: 150 }),
              fc.anything(),
            ),
            unset: fc.oneof(fc.array(fc.string()), fc.anything()),
            keep: fc.oneof(fc.array(fc.string(), { maxLength: 600 }), fc.anything()),
          }),
          filter: fc.oneof(fc.string({ unit: 'binary' }), fc.anything()),
          notices: fc.array(fc.string({ unit: 'binary' }), { maxLength: 200 }),
        },
        { requiredKeys: [] },
      ),
      fc.nat(),
      fc.nat(),
      fc.nat({ max: 255 }),
      fc.constantFrom('whole', 'cut', 'changed'),
    )
    .map(([result, cut, at, byte, how]) => {
      const text = Buffer.from(JSON.stringify({ type: 'reply', data: { id: 1, result } }) ?? '');
      if (how === 'cut') return text.subarray(0, cut % (text.length + 1));
      if (how === 'changed') text[at % text.length] = byte;
      return text;
    }),
);

const sanitized = when(test, { other: sanitizersMissing });

/** Compiles one of the programs beside this file that have the launcher in them. */
function compileAround(t: ExecutionContext, name: string): string {
  const program = join(temporaryFolder(t), name);
  const source = join(import.meta.dirname, `${name}.c`);
  const args = ['-std=c11', '-O1', ...sanitizerFlags, '-o', program, source];
  t.is(spawnSync('cc', args, { encoding: 'utf8' }).stderr, '');
  return program;
}

sanitized('when its time is over it does not wait for a place in the queue', (t) => {
  const root = temporaryFolder(t);
  mkdirSync(join(root, 'run'));
  const { status, stdout, stderr } = spawnSync(compileAround(t, 'persona-run-late'), [root], {
    encoding: 'utf8',
  });
  t.is(stderr, '');
  t.is(status, 0);
  t.is(stdout, 'no answer in time\n'.repeat(2));
});

sanitized('thousands of answers that make no sense break nothing', (t) => {
  const fuzzer = compileAround(t, 'persona-run-fuzz');
  const answers = fc.sample(odd, 5000).map((one) => Buffer.from(one as string).subarray(0, 65_536));
  const whole = Buffer.from(
    frame({ result: plan({ notices: ['x'.repeat(60_000)] }) }).slice(0, -1),
  );
  // Every beginning of a real answer, with escapes of all kinds.
  const escapes = Buffer.from(
    `{"type":"reply","data":{"result":{"profile":"\\ud83d\\ude00\\u0041\\n\\"","argv":["/x"]}}}`,
  );
  const cuts = Array.from(escapes, (_, at) => escapes.subarray(0, at));
  const deep = Buffer.from(`${'['.repeat(30_000)}${']'.repeat(30_000)}`);
  const all = [...answers, ...cuts, deep, whole, escapes];
  const input = Buffer.concat(all.flatMap((one) => [Buffer.from(`${one.length}\n`), one]));
  const { status, stdout, stderr } = spawnSync(fuzzer, {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  t.is(stderr, '');
  t.is(status, 0);
  t.is(stdout.length, all.length);
  t.regex(stdout, /n{20}nyy$/, 'no cut answer and no deep one is followed, the whole ones are');
});

sanitized('the whole launcher stands them too, from a socket', async (t) => {
  const daemon = await rawDaemon(t);
  const program = join(temporaryFolder(t), 'launcher');
  compileLauncher(program, sanitizerFlags);
  const answers = [
    ...fc.sample(fc.uint8Array({ maxLength: 300 }), 40).map((one) => Buffer.from(one)),
    Buffer.alloc(200_000, 0x20),
    Buffer.from(`${'['.repeat(70_000)}\f`),
    Buffer.from(frame({ result: plan({ argv: ['relative', 'words'] }) })),
    Buffer.from(frame({ result: plan({ argv: [1, '/bin/sh'] }) })),
    Buffer.from(frame({ result: plan({ environment: { set: { 'a=b': 'c' }, unset: [] } }) })),
    Buffer.from(frame({ result: plan({ argv: Array.from({ length: 600 }, () => '/bin/true') }) })),
    Buffer.from(frame({ result: plan({ filter: '/etc/passwd' }) })),
  ];
  const env = { PATH, PERSONA_ROOT: daemon.root };
  for (const answer of answers) {
    daemon.say = { pieces: [answer], end: true };
    const { status, out, err } = await launched(program, ['x', '--', 'echo', 'on'], env);
    t.deepEqual([status, out], [0, 'on\n'], `${answer.toString('base64').slice(0, 400)} ${err}`);
    t.regex(err, /^persona-run: x starts as standard: [ -~]+\n$/);
  }
});
