import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseApplicationList } from '../../../daemon/images/application-list.ts';
import { environmentFile, environmentProblem } from '../../../daemon/images/environment.ts';
import { parseRuntimeConfig, runtimeTree } from '../../../daemon/images/runtime-config.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const parse = (value: unknown) =>
  parseRuntimeConfig(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));

test('variables and files are read, and become a tree', async (t) => {
  const config = parse({
    environment: { EDITOR: 'vi', PATH: '/opt/bin:/usr/bin' },
    files: [
      { path: '/etc/motd', content: 'grüß Gott\n' },
      {
        path: '/etc/deep/er/é',
        mode: '0600',
        content_base64: Buffer.from([0, 255]).toString('base64'),
      },
      { path: '/bin/x', mode: '755', content: '' },
    ],
  });
  const tree = runtimeTree(config);
  t.deepEqual(
    tree.entries.map(({ path, type, mode, size, uid, mtime }) => [
      path,
      type,
      mode,
      size,
      uid,
      mtime,
    ]),
    [
      ['', 'dir', 0o755, undefined, 0, 0],
      ['bin', 'dir', 0o755, undefined, 0, 0],
      ['bin/x', 'file', 0o755, 0, 0, 0],
      ['etc', 'dir', 0o755, undefined, 0, 0],
      ['etc/deep', 'dir', 0o755, undefined, 0, 0],
      ['etc/deep/er', 'dir', 0o755, undefined, 0, 0],
      ['etc/deep/er/\xc3\xa9', 'file', 0o600, 2, 0, 0],
      ['etc/environment.d', 'dir', 0o755, undefined, 0, 0],
      ['etc/environment.d/90-persona.conf', 'file', 0o644, 37, 0, 0],
      ['etc/motd', 'file', 0o644, 12, 0, 0],
    ],
  );
  const pieces: string[] = [];
  for await (const piece of tree.read(tree.entries[8]!)) pieces.push(piece.toString());
  t.is(pieces.join(''), 'EDITOR="vi"\nPATH="/opt/bin:/usr/bin"\n');
});

test('nothing asked for gives a tree of a root only', (t) => {
  t.deepEqual(
    runtimeTree(parse({})).entries.map(({ path }) => path),
    [''],
  );
});

const denied = [
  'LD_PRELOAD',
  'LD_X',
  'NODE_OPTIONS',
  'BASH_ENV',
  'ENV',
  'PYTHONPATH',
  'PERL5LIB',
  'PERL5OPT',
  'RUBYLIB',
  'IFS',
  'SHELLOPTS',
  'GCONV_PATH',
  'GLIBC_TUNABLES',
  'BASH_FUNC_x',
  'JAVA_TOOL_OPTIONS',
  'PROMPT_COMMAND',
  'SUDO_ASKPASS',
  'PERSONA_ROOT',
];
for (const name of denied) {
  test(`refused: the variable ${name}`, (t) => {
    const error = t.throws(() => parse({ environment: { [name]: 'x' } }), {
      instanceOf: PersonaError,
    });
    t.regex(error.message, new RegExp(`cannot set "${name}": a persona may not`));
  });
}

const wrong: [string, unknown, RegExp][] = [
  ['a name with an equals sign', { environment: { 'A=B': 'x' } }, /no name of a variable/],
  ['an empty name', { environment: { '': 'x' } }, /no name of a variable/],
  ['a line break in a value', { environment: { A: 'x\ny' } }, /line break/],
  ['a NUL in a value', { environment: { A: 'x\0y' } }, /line break or a NUL/],
  ['a PATH that is not absolute', { environment: { PATH: '/bin:.' } }, /absolute folders/],
  ['a PATH with an empty folder', { environment: { PATH: '/bin::/usr/bin' } }, /absolute folders/],
  ['a value that is no text', { environment: { A: 1 } }, /environment.A/],
  ['a value of megabytes', { environment: { A: 'x'.repeat(100_000) } }, /over 32768/],
  ['a path that is not absolute', { files: [{ path: 'etc/x', content: '' }] }, /not absolute/],
  ['a path that climbs', { files: [{ path: '/etc/../x', content: '' }] }, /component \.\./],
  ['the root as a file', { files: [{ path: '/', content: '' }] }, /without a name/],
  ['a folder as a file', { files: [{ path: '/etc/', content: '' }] }, /slash at an end/],
  ['a NUL in a path', { files: [{ path: '/etc/a\0b', content: '' }] }, /wrong path/],
  [
    'a file twice',
    {
      files: [
        { path: '/a', content: '' },
        { path: '/a', content: '' },
      ],
    },
    /twice/,
  ],
  [
    'a file below a file',
    {
      files: [
        { path: '/a', content: '' },
        { path: '/a/b', content: '' },
      ],
    },
    /below a file/,
  ],
  ['no content', { files: [{ path: '/a' }] }, /needs one of/],
  ['two contents', { files: [{ path: '/a', content: '', content_base64: '' }] }, /needs one of/],
  ['a mode with suid', { files: [{ path: '/a', content: '', mode: '4755' }] }, /mode/],
  ['base64 that is none', { files: [{ path: '/a', content_base64: '!' }] }, /content_base64/],
  ['an unknown key of a file', { files: [{ path: '/a', content: '', owner: 'x' }] }, /owner/],
  ['a list', [], /is a list/],
  ['no JSON', '{', /not JSON/],
];
for (const [title, value, message] of wrong) {
  test(`refused: ${title}`, (t) => {
    const error = t.throws(() => parse(value), { instanceOf: PersonaError });
    t.is(error.code, 'bad-persona');
    t.regex(error.message, message);
  });
}

const unsupported = {
  services: { x: 1 },
  registry: [{ key: 'x' }],
  sysctl: { 'vm.swappiness': 1 },
  new_thing: true,
};
for (const [key, value] of Object.entries(unsupported)) {
  test(`not supported yet, and said so: ${key}`, (t) => {
    const error = t.throws(() => parse({ [key]: value }), { code: 'not-supported' });
    t.regex(error?.message ?? '', new RegExp(`"${key}".*not supported by this version`));
  });
}

const generator = '/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator';
const needsSystemd = { other: () => (existsSync(generator) ? undefined : 'needs systemd') };

when(test, needsSystemd)('systemd reads the written variables as they were meant', (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'environment.d'));
  const environment = {
    A: 'plain',
    B: 'a "quoted" \\ back`tick $HOME $x $$',
    C: " spaces 'and' # more ",
  };
  writeFileSync(join(folder, 'environment.d/90.conf'), environmentFile(environment));
  const generator = '/lib/systemd/user-environment-generators/30-systemd-environment-d-generator';
  const env = { XDG_CONFIG_HOME: folder, HOME: folder };
  const { stdout } = spawnSync(generator, { env, encoding: 'utf8' });
  for (const [name, value] of Object.entries(environment)) {
    const line = stdout.split('\n').find((one) => one.startsWith(`${name}=`)) ?? '';
    t.is(shellValue(line.slice(name.length + 1)), value);
  }
});

/** The generator quotes its answer for a shell: $'...' or as it is. */
function shellValue(text: string): string {
  const { stdout } = spawnSync('bash', ['-c', `printf %s ${text}`], { encoding: 'utf8' });
  return stdout;
}

test('application lists: words, comments, empty lines', (t) => {
  const list = parseApplicationList(
    Buffer.from('# all\n\nvim 2:9.0.1378-2 --no-x a#b # why\n\tlibc6 *\r\n'),
  );
  t.deepEqual(list, [
    { name: 'vim', version: '2:9.0.1378-2', parameters: ['--no-x', 'a#b'] },
    { name: 'libc6', version: '*', parameters: [] },
  ]);
  t.deepEqual(parseApplicationList(Buffer.from('')), []);
  for (const bad of ['vim', '-x 1', 'a/../b\0 1', 'vim $(x)', '\xff']) {
    t.throws(() => parseApplicationList(Buffer.from(bad, 'latin1')), { code: 'bad-persona' });
  }
});

test('ordinary variables are allowed', (t) => {
  for (const name of ['EDITOR', 'LANG', 'LC_ALL', 'http_proxy', 'TERM', 'HOME', '_X']) {
    t.is(environmentProblem(name, 'x'), undefined);
  }
});
