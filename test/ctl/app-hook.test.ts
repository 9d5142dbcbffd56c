import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { hookEntry, hookOf } from '../../ctl/launch/desktop-entry.ts';
import { hookedCommands, hookShells, shellHook } from '../../ctl/launch/shell-hook.ts';
import { compileLauncher } from '../../scripts/launcher.ts';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { fakeDaemon } from './fake-daemon.ts';
import { frame, launched, launcherNeeds, rawDaemon } from './launch-plans.ts';
import { explanation } from './samples.ts';
import { personactl } from './tool.ts';

const entry = `# A comment
[Desktop Entry]
Type=Application
Name=Editor
Name[de]=Schreiber
DBusActivatable=true
Exec=editor --open "a b" "\\\\$x" %U
Actions=new;

[Desktop Action new]
Name=New
Exec=editor --new
`;

/** The words of a command line as the specification of desktop entries has them; field codes are left out. */
function wordsOf(line: string): string[] {
  const text = line.replaceAll(/\\(.)/g, (_, c: string) => (c === 's' ? ' ' : c));
  const found = [...text.matchAll(/"((?:[^"\\]|\\.)*)"|([^\s"]+)/g)];
  return found
    .map(([, quoted, plain = '']) => quoted?.replaceAll(/\\(.)/g, '$1') ?? plain)
    .filter((word) => !/^%[a-zA-Z]$/.test(word));
}

const commandsOf = (text: string): string[][] =>
  [...text.matchAll(/^Exec=(.*)$/gm)].map(([, line = '']) => wordsOf(line));

/** A home and a machine with one entry, a launcher that says what it was given, and a daemon that says how the application runs. */
async function desktop(t: ExecutionContext) {
  const said = { profile: 'standard', rule: 'nothing-said' };
  const daemon = await fakeDaemon(t, {
    'app.explain': () => ({ explanation: { ...explanation, ...said } }),
  });
  const root = temporaryFolder(t);
  const bin = join(root, 'bin');
  const launcher = join(bin, 'persona-run');
  for (const folder of ['bin', 'share/applications', 'home'])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(launcher, '#!/bin/sh\nprintf "%s|" launcher "$@"\n');
  writeFileSync(join(bin, 'editor'), '#!/bin/sh\nprintf "%s|" editor "$@"\n');
  for (const name of ['persona-run', 'editor']) chmodSync(join(bin, name), 0o755);
  writeFileSync(join(root, 'share/applications/editor.desktop'), entry);
  const env = {
    HOME: join(root, 'home'),
    XDG_DATA_DIRS: join(root, 'share'),
    PATH: `${bin}:/usr/bin:/bin`,
  };
  const own = join(root, 'home/.local/share/applications');
  const hook = (...words: string[]) =>
    personactl({ env, root: daemon.root }, 'app', 'hook', ...words);
  const start = (words: string[]) => {
    const [file = '', ...args] = words;
    return spawnSync(file, args, { env, encoding: 'utf8' }).stdout;
  };
  return { root, env, own, file: join(own, 'editor.desktop'), launcher, said, hook, start };
}

test('an entry starts through the launcher, with the very words it had; without it as before', async (t) => {
  const { own, file, launcher, hook, start } = await desktop(t);
  const made = await hook('editor', '--enable');
  t.is(made.status, 0, made.err);
  const text = readFileSync(file, 'utf8');
  t.deepEqual(readdirSync(own), ['editor.desktop']);
  t.regex(text, /^DBusActivatable=false$/m);
  t.true(text.includes('Name[de]=Schreiber\n'));
  const [main = [], action = []] = commandsOf(text);
  t.is(start(main), 'launcher|editor|--|editor|--open|a b|$x|');
  t.is(start(action), 'launcher|editor|--|editor|--new|');
  rmSync(launcher);
  t.is(start(main), 'editor|--open|a b|$x|');
});

test('it is taken off again, and made anew; its state is told', async (t) => {
  const { root, file, hook } = await desktop(t);
  const listed = async () => JSON.parse((await hook('--json')).out).hooks;
  t.deepEqual(await listed(), []);
  t.is((await hook('editor', '--enable')).status, 0);
  const source = join(root, 'share/applications/editor.desktop');
  t.deepEqual(await listed(), [{ app: 'editor', source, state: 'current' }]);
  writeFileSync(source, entry.replace('--new', '--newer'));
  t.is((await hook('editor', '--enable')).status, 0);
  t.true(readFileSync(file, 'utf8').includes('--newer'));
  rmSync(source);
  t.is((await listed())[0].state, 'orphaned');
  t.is((await hook('editor', '--disable')).status, 0);
  t.false(existsSync(file));
  t.is((await hook('editor', '--disable')).status, 0);
});

test('what the user wrote or edited is left alone', async (t) => {
  const { own, file, hook, root } = await desktop(t);
  mkdirSync(own, { recursive: true });
  writeFileSync(file, 'mine');
  for (const word of ['--enable', '--disable']) t.is((await hook('editor', word)).status, 6);
  t.is(readFileSync(file, 'utf8'), 'mine');
  rmSync(file);
  await hook('editor', '--enable');
  writeFileSync(file, `${readFileSync(file, 'utf8')}Comment=mine\n`);
  for (const word of ['--enable', '--disable']) t.is((await hook('editor', word)).status, 6);
  t.regex((await hook()).out, /editor\s+edited/);
  rmSync(file);
  const elsewhere = join(root, 'elsewhere');
  writeFileSync(elsewhere, 'kept');
  symlinkSync(elsewhere, file);
  for (const word of ['--enable', '--disable']) t.is((await hook('editor', word)).status, 6);
  t.is(readFileSync(elsewhere, 'utf8'), 'kept');
});

test('what is no application has no hook', async (t) => {
  const { root, own, launcher, hook } = await desktop(t);
  for (const [name, text] of [
    ['link', entry.replace('Application', 'Link')],
    ['still', '[Desktop Entry]\nType=Application\nName=x\n[Desktop Action a]\nExec=x\n'],
    ['odd', ''],
    ['large', entry + '#'.repeat(300_000)],
  ] as const) {
    writeFileSync(join(root, 'share/applications', `${name}.desktop`), text);
    t.is((await hook(name, '--enable')).status, 2, name);
  }
  t.is((await hook('absent', '--enable')).status, 4);
  t.is((await hook('../editor', '--enable')).status, 2);
  t.is((await hook('editor')).status, 2);
  rmSync(launcher);
  t.is((await hook('editor', '--enable')).status, 1);
  t.false(existsSync(own));
});

test('a hook says whether it starts apart or not at all, and is stale when that is another word now', async (t) => {
  const { file, env, said, hook, start } = await desktop(t);
  const state = async () => JSON.parse((await hook('--json')).out).hooks[0].state;
  const enabled = async () => {
    t.is((await hook('editor', '--enable')).status, 0);
    t.is(await state(), 'current');
    return start(commandsOf(readFileSync(file, 'utf8'))[0] ?? []);
  };
  const open = 'launcher|editor|--|editor|--open|a b|$x|';
  const closed = 'launcher|--profile|secure|editor|--|editor|--open|a b|$x|';
  t.is(await enabled(), open);
  for (const rule of ['required', 'stated', 'name-only']) {
    Object.assign(said, { profile: 'standard', rule: 'nothing-said' });
    await enabled();
    Object.assign(said, { profile: 'secure', rule });
    t.is(await state(), 'stale');
    t.is(await enabled(), closed);
  }
  // Nobody has said that it is not to start otherwise.
  Object.assign(said, { rule: 'sensitive' });
  t.is(await state(), 'stale');
  t.is(await enabled(), open);
  // Without a daemon nobody knows: nothing is made, and nothing is called stale.
  t.is((await personactl({ env }, 'app', 'hook', 'editor', '--enable')).status, 3);
  const { out, err } = await personactl({ env }, 'app', 'hook');
  t.regex(out, /editor\s+current/);
  t.regex(err, /stale is not known/);
});

when(test, { tools: [...(launcherNeeds.tools ?? []), 'bash', 'setsid'] })(
  'what is stated to run apart is not started by its hooks without an answer',
  async (t) => {
    const { root, env, file, launcher, said, hook } = await desktop(t);
    Object.assign(said, { profile: 'secure', rule: 'required' });
    t.is((await hook('editor', '--enable')).status, 0);
    const [entered = []] = commandsOf(readFileSync(file, 'utf8'));
    const commands = hookedCommands([
      { id: 'editor', profile: 'secure', rule: 'required', executables: ['/usr/bin/editor'] },
    ]);
    const functions = join(root, 'hook');
    writeFileSync(functions, shellHook('bash', commands));
    const typed = [...shells.bash.argv, `source ${functions}; editor x; exit $?`];
    const shown = join(root, 'shown');
    writeFileSync(join(root, 'bin/notify-send'), `#!/bin/sh\necho "$1" >>${shown}\n`);
    chmodSync(join(root, 'bin/notify-send'), 0o755);
    const startsNothing = async ([program = '', ...args]: string[], PERSONA_ROOT: string) => {
      const { status, out, err } = await launched(program, args, { ...env, PERSONA_ROOT });
      t.deepEqual([status, out], [125, ''], err);
      t.regex(err, /persona-run/);
    };
    rmSync(launcher);
    await startsNothing(entered, root);
    compileLauncher(launcher);
    const [mute, crowded] = [await rawDaemon(t), await rawDaemon(t)];
    const refusal = { code: 'too-many-requests', message: 'too many', hint: 'wait', exit: 6 };
    crowded.say = { pieces: [frame({ error: refusal })] };
    const daemons = [root, mute.root, crowded.root];
    await Promise.all(
      daemons.flatMap((one) => [startsNothing(entered, one), startsNothing(typed, one)]),
    );
    t.true(crowded.requests.length > 4, 'both have come again');
    t.is(readFileSync(shown, 'utf8'), 'editor was not started\n'.repeat(4));
  },
);

test('any command line stays what it was, behind the launcher', (t) => {
  const hook = { app: 'org.example.App', launcher: '/usr/bin/persona-run', source: '/x' };
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (command) => {
      const line = `x ${command.replaceAll(/[\r\n]/g, '')}`;
      const text = `[Desktop Entry]\nType=Application\nExec=${line}\n`;
      const hooked = hookEntry(text, hook) ?? '';
      t.true(hooked.includes(`" sh ${line}\n`));
      t.deepEqual(hookOf(hooked), { source: '/x', intact: true });
      t.is(hookOf(text), undefined);
    }),
    { examples: [['a\u2028b'], ['\u2029'], ['\u0085']] },
  );
});

const line = (id: string, rule: string, ...executables: string[]) => ({
  id,
  profile: 'standard' as const,
  rule,
  executables,
});

/** How each shell reads a text as one that somebody types into (never taking the terminal of the tests), and defines what it finds in a test. */
const shells = {
  bash: {
    argv: ['setsid', '-w', 'bash', '--norc', '-i', '-c'],
    quiet: ['bash', '-c'],
    exited: '$?',
    isFunction: (name: string) => `typeset -f ${name} >/dev/null && echo function || echo none`,
    own: (name: string, says: string) => `function ${name} { echo ${says}; }`,
    alias: (name: string, text: string) => `shopt -s expand_aliases; alias ${name}='${text}'`,
    notFound: 'command_not_found_handle() { echo "$1" >~/asked; return 127; }',
  },
  zsh: {
    argv: ['setsid', '-w', 'zsh', '-f', '-i', '-c'],
    quiet: ['zsh', '-f', '-c'],
    exited: '$?',
    isFunction: (name: string) => `typeset -f ${name} >/dev/null && echo function || echo none`,
    own: (name: string, says: string) => `function ${name} { echo ${says}; }`,
    alias: (name: string, text: string) => `alias ${name}='${text}'`,
    notFound: 'command_not_found_handler() { echo "$1" >~/asked; return 127; }',
  },
  fish: {
    argv: ['setsid', '-w', 'fish', '--no-config', '-i', '-c'],
    quiet: ['fish', '--no-config', '-c'],
    exited: '$status',
    isFunction: (name: string) => `functions -q ${name}; and echo function; or echo none`,
    own: (name: string, says: string) => `function ${name}; echo ${says}; end`,
    alias: (name: string, text: string) => `alias ${name} '${text}'`,
    notFound: 'function fish_command_not_found; echo $argv[1] >~/asked; end',
  },
} as const;

for (const shell of hookShells) {
  const typed = when(test, { tools: [shell] });
  const { argv, quiet, exited, isFunction, own, alias, notFound } = shells[shell];

  /** The text that the tool prints for this shell, and how the shell runs lines after it. */
  const hooked = async (t: ExecutionContext) => {
    const { root: machine, launcher } = await desktop(t);
    const { root } = await fakeDaemon(t, {
      'app.list': () => ({
        applications: [
          line('org.sketch.Sketch', 'stated', '/usr/bin/sketch'),
          line('other', 'suggested', '/usr/bin/other'),
          { ...line('org.keys.Keys', 'required', '/usr/bin/keys'), profile: 'secure' },
          line('odd', 'stated', '/usr/bin/$(touch odd)', '/usr/bin/cd', '/usr/bin/a b'),
        ],
        more: 0,
      }),
    });
    const { out, status } = await personactl({ root }, 'app', 'hook', '--shell', shell);
    t.is(status, 0);
    for (const name of ['sketch', 'keys']) {
      writeFileSync(join(launcher, '..', name), `#!/bin/sh\nprintf "%s|" ${name} "$@"\n`);
      chmodSync(join(launcher, '..', name), 0o755);
    }
    const file = join(machine, 'hook');
    writeFileSync(file, out);
    const env = { PATH: `${join(launcher, '..')}:/usr/bin:/bin`, HOME: join(machine, 'home') };
    const says = (words: readonly string[], lines: string[]) => {
      const [program = '', ...args] = words;
      // Read line by line, as what is typed is.
      const script = join(machine, 'lines');
      writeFileSync(
        script,
        `${lines.join('\n').replaceAll('HOOK', `source ${file}`)}
`,
      );
      return spawnSync(program, [...args, `source ${script}`], {
        ...{ env, input: '', timeout: 20_000 },
        encoding: 'utf8',
      }).stdout;
    };
    const gone = (name: string) => rmSync(join(launcher, '..', name));
    /** What a shell has asked others for, since it found no such command. */
    const asked = () => readFileSync(join(machine, 'home/asked'), 'utf8');
    return {
      out,
      gone,
      asked,
      typed: (...lines: string[]) => says(argv, lines),
      ran: (...lines: string[]) => says(quiet, lines),
    };
  };

  typed(
    `${shell}: a stated command starts through the launcher, and as ever without it`,
    async (t) => {
      const { out, gone, asked, typed: type } = await hooked(t);
      t.notRegex(out, /other|odd/);
      const call = `sketch "a b" '$x' '*'`;
      t.is(type('HOOK', call), 'launcher|org.sketch.Sketch|--|sketch|a b|$x|*|');
      t.is(type('HOOK', 'HOOK', call), 'launcher|org.sketch.Sketch|--|sketch|a b|$x|*|', 'twice');
      t.is(type('HOOK', 'personad_unhook', call), 'sketch|a b|$x|*|');
      const both = [isFunction('sketch'), isFunction('personad_unhook')];
      t.is(type('HOOK', ...both), 'function\nfunction\n');
      t.is(type('HOOK', 'personad_unhook', ...both), 'none\nnone\n');
      gone('persona-run');
      t.is(type('HOOK', call), 'sketch|a b|$x|*|');
      // What is not installed any more is not found, and whoever knows of packages is asked.
      gone('sketch');
      t.is(type(notFound, 'HOOK', 'sketch x'), '');
      t.is(asked(), 'sketch\n');
    },
  );

  typed(`${shell}: what is to run apart asks for that, or is not started`, async (t) => {
    const { gone, asked, typed: type } = await hooked(t);
    const call = ['HOOK', 'keys "a b"', `echo ${exited}`];
    t.is(type(...call), 'launcher|--profile|secure|org.keys.Keys|--|keys|a b|0\n');
    gone('persona-run');
    t.is(type(...call), '125\n');
    t.is(type('HOOK', 'personad_unhook', 'keys x'), 'keys|x|');
    gone('keys');
    t.is(type(notFound, 'HOOK', 'keys x'), '');
    t.is(asked(), 'keys\n');
  });

  typed(`${shell}: the program alone gone is not found, with the launcher there`, async (t) => {
    const { gone, asked, typed: type } = await hooked(t);
    gone('sketch');
    t.is(type(notFound, 'HOOK', 'sketch x'), '');
    t.is(asked(), 'sketch\n');
  });

  typed(`${shell}: functions and aliases of its user stay his`, async (t) => {
    const { typed: type } = await hooked(t);
    t.is(
      type(own('sketch', 'mine'), 'HOOK', 'sketch', 'personad_unhook', 'sketch'),
      'mine\nmine\n',
    );
    t.is(type('HOOK', own('sketch', 'mine'), 'personad_unhook', 'sketch'), 'mine\n');
    const aliased = type(alias('sketch', 'sketch --new'), 'HOOK', 'sketch x');
    // fish makes a function of an alias.
    const by = shell === 'fish' ? '' : 'launcher|org.sketch.Sketch|--|';
    t.is(aliased, `${by}sketch|--new|x|`);
  });

  typed(`${shell}: scripts are left alone`, async (t) => {
    const { ran, typed: type } = await hooked(t);
    t.is(ran('HOOK', 'sketch x', isFunction('personad_unhook')), 'sketch|x|none\n');
    const script = `${quiet.join(' ')} 'sketch x'`;
    t.is(type('HOOK', script), 'sketch|x|');
    t.is(type('HOOK', 'env sketch x'), 'sketch|x|');
  });
}

test('without a daemon a shell starts with no functions, and says why', async (t) => {
  const root = temporaryFolder(t);
  for (const shell of hookShells) {
    const { out, err, status } = await personactl({ root }, 'app', 'hook', '--shell', shell);
    t.is(status, 0);
    t.regex(err, /Nothing is hooked/);
    t.regex(out, /personad_unhook/);
  }
  const wrong = await personactl({ root }, 'app', 'hook', 'editor', '--shell', 'bash');
  t.is(wrong.status, 2);
});

test('a shell is told of applications that did not find room in the answer', async (t) => {
  const { root, calls } = await fakeDaemon(t, {
    'app.list': () => ({ applications: [line('a', 'stated', '/usr/bin/a')], more: 2 }),
  });
  const { out, err } = await personactl({ root }, 'app', 'hook', '--shell', 'bash');
  t.deepEqual(calls, [{ method: 'app.list', params: { stated: true } }]);
  t.regex(err, /2 more applications, which are not hooked/);
  t.regex(out, /persona-run a -- a /);
});

test('a daemon that does not answer holds up no shell', async (t) => {
  const { root } = await rawDaemon(t);
  const words = ['app', 'hook', '--shell', 'bash'];
  const { out, err, status } = await personactl({ root, momentMs: 1 }, ...words);
  t.is(status, 0);
  t.regex(err, /Nothing is hooked: cannot finish asking the daemon in time/);
  t.regex(out, /personad_unhook/);
});

test('nothing that an application is called reaches a shell as more than a word', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (id, name) => {
      const commands = hookedCommands([line(id, 'stated', `/usr/bin/${name}`)]);
      // All else in the text is ours.
      return commands.every(({ app, command }) =>
        [app, command].every((one) => /^[\w.+-]+$/.test(one)),
      );
    }),
  );
  const twice = [line('a', 'stated', '/usr/bin/x'), line('b', 'stated', '/opt/x', '/opt/y')];
  t.deepEqual(hookedCommands(twice), [{ app: 'b', command: 'y' }]);
});

test('a command of two applications is hooked where both are kept apart, and else means neither', (t) => {
  const of = (...profiles: ('standard' | 'fast' | 'secure')[]) => {
    const both = profiles.map((profile, at) => ({
      ...line(`code${at}`, 'stated', '/usr/bin/code', `/opt/only${at}`),
      profile,
    }));
    return hookedCommands(both).map(({ app, command }) => `${app} ${command}`);
  };
  const alone = ['code0 only0', 'code1 only1'];
  t.deepEqual(of('secure', 'secure'), ['code0 code', ...alone]);
  for (const [one, other] of [
    ['standard', 'standard'],
    ['secure', 'standard'],
    ['fast', 'secure'],
  ] as const)
    t.deepEqual(of(one, other), alone);
});

test('of two that are kept apart the command is closed where one of them is', (t) => {
  const of = (...rules: string[]) =>
    hookedCommands(
      rules.map((rule, at) => ({ ...line(`code${at}`, rule, '/usr/bin/code'), profile: 'secure' })),
    );
  t.deepEqual(of('sensitive', 'sensitive'), [{ app: 'code0', command: 'code' }]);
  t.deepEqual(of('sensitive', 'required'), [{ app: 'code0', command: 'code', closed: true }]);
});
