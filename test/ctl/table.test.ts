import { execFileSync } from 'node:child_process';
import test from 'ava';
import { globalFlags, usageOf } from '../../ctl/command.ts';
import { commands } from '../../ctl/commands.ts';
import { manualPages } from '../../ctl/manual.ts';
import { jsonVersion } from '../../ctl/print/json.ts';
import { exitStatuses } from '../../ctl/reference.ts';
import { exitStatus } from '../../ipc/errors.ts';
import { apiVersion } from '../../ipc/methods/daemon.ts';
import { hasTool, when } from '../support/needs.ts';
import { golden } from './golden.ts';
import { personactl } from './tool.ts';

const shown = commands().filter(({ group }) => group !== undefined);

test('the table is sound', (t) => {
  const names = commands().flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  t.is(new Set(names).size, names.length);
  for (const { name, summary, flags, required = [], exclusive = [], about = [] } of commands()) {
    t.regex(summary, /^[A-Z].*\.$/, name);
    for (const text of about) t.regex(text, /[.:]$/, name);
    const own = flags.map((flag) => flag.name);
    const all = [...own, ...globalFlags.map((flag) => flag.name)];
    t.is(new Set(all).size, all.length, name);
    const shorts = [...flags, ...globalFlags].flatMap(({ short }) => short ?? []);
    t.is(new Set(shorts).size, shorts.length, name);
    for (const list of [...required, ...exclusive])
      for (const flag of list) t.true(own.includes(flag));
    for (const flag of flags) t.regex(flag.summary, /^[A-Z].*\.$/, `${name} --${flag.name}`);
  }
});

test('every command can be loaded', async (t) => {
  for (const { name, load } of commands()) t.is(typeof (await load()), 'function', name);
});

test('every command has help, as text and as JSON', async (t) => {
  for (const command of shown) {
    const words = command.name.split(' ');
    const { status, out } = await personactl({ columns: 80 }, ...words, '--help');
    t.is(status, 0);
    t.true(out.startsWith(`${command.summary}\n`), command.name);
    for (const { name } of command.flags) t.true(out.includes(`--${name}`), name);
    for (const line of out.split('\n')) t.true(line.length <= 80, line);
    t.is((await personactl({ columns: 80 }, 'help', ...words)).out, out);
    const json = JSON.parse((await personactl({}, ...words, '-h', '--json')).out);
    t.is(json.command.usage, usageOf(command));
  }
});

test('the overview names every command', async (t) => {
  const answered = await personactl({ columns: 80 }, 'help');
  for (const { name } of shown) t.true(answered.out.includes(name), name);
  golden(t, 'help', answered);
  t.is((await personactl({ columns: 80 }, '--help')).out, answered.out);
});

test('help for one command, a group and a topic', async (t) => {
  golden(t, 'help-swap', await personactl({ columns: 80 }, 'help', 'swap'));
  golden(t, 'help-exec', await personactl({ columns: 80 }, 'exec', '--help'));
  golden(t, 'help-base', await personactl({ columns: 80 }, 'help', 'base'));
  golden(t, 'help-exit', await personactl({ columns: 80 }, 'help', 'exit'));
  t.is((await personactl({}, 'help', 'frobnicate')).status, 2);
});

test('every exit status of the error table is explained', (t) => {
  const explained = exitStatuses.map(([status]) => status);
  for (const status of Object.values(exitStatus)) t.true(explained.includes(String(status)));
});

test('the JSON of the tool has the version of the contract', (t) => {
  t.is(jsonVersion, apiVersion);
});

when(test, { tools: ['groff'] })('manual pages are sound for groff', (t) => {
  const pages = manualPages('1.2.3');
  t.is(pages.size, shown.length + 1);
  for (const [name, text] of pages) {
    const options = ['-man', '-Tutf8', '-ww', '-z'];
    const said = execFileSync('groff', options, { input: text, stdio: ['pipe', 'pipe', 'pipe'] });
    t.is(said.toString(), '', name);
  }
  t.true(hasTool('groff'));
});
