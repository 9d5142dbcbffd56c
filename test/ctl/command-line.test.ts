import test from 'ava';
import fc from 'fast-check';
import { commands } from '../../ctl/commands.ts';
import { parseCommand, splitCommand } from '../../ctl/parse.ts';
import { distance, nearestCommand } from '../../ctl/suggestion.ts';
import { personactl } from './tool.ts';

const wrong: readonly (readonly [line: string, said: RegExp, hint: RegExp])[] = [
  ['', /a command is missing/, /personactl help/],
  ['statsu', /no command "statsu"/, /Did you mean `personactl status`/],
  ['persona lst', /no command "persona lst"/, /personactl persona list/],
  ['persona ls', /no command "persona ls"/, /personactl persona list/],
  ['prsona list', /no command "prsona"/, /personactl persona list/],
  ['persona', /needs a second word/, /One of: create, import, list/],
  ['persona frobnicate', /no command "frobnicate"/, /One of: create/],
  ['switch desk build', /no command "switch"/, /personactl swap/],
  ['undo', /no command "undo"/, /personactl rollback/],
  ['frobnicate', /no command "frobnicate"/, /personactl help/],
  ['swap desk', /needs PERSONA/, /help swap/],
  ['swap desk build more', /does not take another word: "more"/, /help swap/],
  ['swap desk build --fersh', /no option --fersh/, /Did you mean --fresh/],
  ['swap desk build -z', /no option -z/, /help swap/],
  ['swap desk build --fresh=yes', /--fresh takes no value/, /help swap/],
  ['swap desk build --wait --kill', /--wait and --kill exclude/, /help swap/],
  ['swap DESK build', /cannot use "DESK" as a name/, /1 to 63 characters/],
  ['swap desk ../x', /cannot use "..\/x" as a name/, /1 to 63/],
  ['rollback desk --to', /--to needs a value: N/, /help rollback/],
  ['rollback desk --to --base', /--to needs a value/, /help rollback/],
  ['rollback desk --to two', /whole number from 1, not "two"/, /help rollback/],
  ['rollback desk --to 1 --to 2', /--to is given twice/, /help rollback/],
  ['rollback desk --to 1 --base', /--to and --base exclude/, /help rollback/],
  ['base import x', /needs --from or --host/, /help base import/],
  ['base import x --host --from y', /--from and --host exclude/, /help base import/],
  ['persona create x --base y', /needs --from-tree or --diff/, /help persona create/],
  ['persona create x --base y --diff z --env a', /NAME=VALUE, not "a"/, /help persona create/],
  ['completion tcsh', /SHELL cannot be "tcsh"/, /One of: bash, zsh, fish/],
  ['status --color=blue', /--color cannot be "blue"/, /auto, always, never/],
  ['--bogus', /no option --bogus/, /personactl help/],
  ['base import x --from=', /--from cannot be empty/, /help base import/],
  ['partitions replay --memory 1G', /--memory is the machine of a TRACE/, /help partitions replay/],
  ['change show twelve', /CHANGE has to be a whole number/, /help change show/],
];

for (const [line, said, hint] of wrong)
  test(`wrong: personactl ${line}`, async (t) => {
    const words = line === '' ? [] : line.split(' ');
    const { status, out, err } = await personactl({}, ...words);
    t.is(status, 2);
    t.is(out, '');
    t.regex(err, said);
    t.regex(err, hint);
    const json = await personactl({}, ...words, '--json');
    t.is(json.status, 2);
    t.is(json.out, '');
    const { apiVersion, error } = JSON.parse(json.err);
    t.is(apiVersion, 1);
    t.is(error.exit, 2);
    t.regex(error.message, said);
  });

test('a word may not be empty where something is named', async (t) => {
  t.like(await personactl({}, 'backup', ''), { status: 2, out: '' });
  t.like(await personactl({}, 'base', 'import', 'x', '--from', ''), { status: 2, out: '' });
});

test('--help behind the first word of several commands is their help', async (t) => {
  const { out } = await personactl({}, 'help', 'slot');
  t.like(await personactl({}, 'slot', '--help'), { status: 0, out, err: '' });
  t.like(await personactl({}, 'base', '-h'), { status: 0, err: '' });
});

test('options may stand anywhere, and in the short form', (t) => {
  const parse = (line: string) => {
    const found = splitCommand(line.split(' '));
    const { command, operands, flags } = parseCommand(found!.command, found!.rest);
    return [command.name, operands, flags];
  };
  const expected = [
    'swap',
    { SLOT: 'a', PERSONA: 'b' },
    { json: true, fresh: true, 'dry-run': true },
  ];
  t.deepEqual(parse('--json swap a --fresh b -n'), expected);
  t.deepEqual(parse('swap --fresh a -n b --json'), expected);
  t.deepEqual(parse('--color never gc'), ['system gc', {}, { color: 'never' }]);
  t.deepEqual(parse('df --color=never'), ['system df', {}, { color: 'never' }]);
  t.deepEqual(parse('persona create x -b y --diff z -e A=1 --env B=2'), [
    'persona create',
    { NAME: 'x' },
    { base: 'y', diff: 'z', env: ['A=1', 'B=2'] },
  ]);
});

test('what follows the slot, or --, belongs to the program that is run', (t) => {
  const rest = (...words: string[]) => {
    const found = splitCommand(words);
    return parseCommand(found!.command, found!.rest);
  };
  t.deepEqual(rest('exec', 'desk', '--net', '--', 'ls', '--json', '--', 'x').rest, [
    ...['ls', '--json', '--', 'x'],
  ]);
  t.deepEqual(rest('exec', '--net', 'desk', 'ls', '-l', '--net').rest, ['ls', '-l', '--net']);
  t.deepEqual(rest('exec', 'desk').rest, []);
  t.is(rest('exec', 'desk', '--', 'true', '--quiet').flags.quiet, undefined);
});

test('no line of words makes the parser throw anything but a usage error', (t) => {
  const word = fc.oneof(
    fc.constantFrom(...commands().flatMap(({ name }) => name.split(' '))),
    fc.constantFrom('--json', '-n', '--', '--color', '--to', '-o', '-', '---', '--=', '-nq'),
    fc.string({ maxLength: 8 }),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 7 }), (words) => {
      try {
        const found = splitCommand(words);
        if (found) parseCommand(found.command, found.rest);
      } catch (error) {
        t.is((error as { code?: string }).code, 'bad-usage', JSON.stringify(words));
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('distance() counts edits', (t) => {
  t.is(distance('swap', 'swap'), 0);
  t.is(distance('swpa', 'swap'), 1);
  t.is(distance('wap', 'swap'), 1);
  t.is(distance('', 'abc'), 3);
  t.is(nearestCommand(['bse', 'improt']), 'base import');
});
