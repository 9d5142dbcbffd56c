import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseFragment } from '../../../daemon/config/fragments.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { describeSettings, readSettings, settingsOf } from '../../../daemon/config/settings.ts';

function etc(t: ExecutionContext, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-etc-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'conf.d'));
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, name), text, { mode: 0o644 });
  return folder;
}

const refused = (t: ExecutionContext, work: () => unknown, message: RegExp) => {
  const error = t.throws(work);
  t.is((error as unknown as { code: string }).code, 'bad-config');
  t.regex(error!.message, message);
};

test('without files every value is the default and says so', (t) => {
  const { values, origins } = readSettings(join(tmpdir(), 'personad-nowhere'));
  t.is(values['space.keep_free'], 1024 ** 3);
  t.deepEqual([...new Set(Object.values(origins))], ['default']);
});

test('drop-ins win over the main file, in the order of their names, and origins are kept', (t) => {
  const folder = etc(t, {
    'persona.toml': '# mine\n[space]\nkeep_free = "2GiB"\nkeep_free_percent = 1\n',
    'conf.d/20-b.toml': '[space]\nkeep_free = "4GiB"\n',
    'conf.d/10-a.toml': '[space]\n\nkeep_free = "3GiB"\n[slots]\nkeep_generations = 3\n',
    'conf.d/not-read.conf': '[nonsense]\nx = 1\n',
  });
  const settings = readSettings(folder);
  const { values, origins } = settings;
  t.is(values['space.keep_free'], 4 * 1024 ** 3);
  t.is(values['space.keep_free_percent'], 1);
  t.is(values['slots.keep_generations'], 3);
  t.is(origins['space.keep_free'], `${folder}/conf.d/20-b.toml:2`);
  t.is(origins['space.keep_free_percent'], `${folder}/persona.toml:4`);
  t.is(origins['slots.keep_generations'], `${folder}/conf.d/10-a.toml:5`);
  t.true(describeSettings(settings).some((line) => line.startsWith('space.keep_free = 4 GiB (')));
  t.throws(() => Object.assign(values, { 'daemon.group': 'x' }));
});

test('an unknown key is an error with file and line', (t) => {
  refused(
    t,
    () => settingsOf(parseFragment('[space]\nkeep_free = 1\n\nkeep_fee = 2\n', 'f.toml')),
    /f\.toml:4: space\.keep_fee is not a setting; there are: .*space\.keep_free/,
  );
  refused(t, () => settingsOf(parseFragment('[sapce]\nx = 1\n', 'f.toml')), /f\.toml:2/);
  refused(
    t,
    () => parseFragment('keep_free = 1\n', 'f.toml'),
    /f\.toml:1: keep_free stands outside/,
  );
});

test('a wrong value is an error with file and line', (t) => {
  const cases: [string, RegExp][] = [
    ['[space]\nkeep_free = "much"', /f\.toml:2: space\.keep_free must be a size/],
    ['[space]\nkeep_free = true', /must be a size/],
    ['[space]\nkeep_free_percent = 91', /from 0 to 90/],
    ['[space]\nkeep_free_percent = 1.5', /whole number/],
    ['[daemon]\nlog_level = "loud"', /one of debug, info, warn, error/],
    ['[daemon]\ngroup = "a b"', /daemon\.group must be/],
    ['[daemon\ngroup = 1', /f\.toml:1/],
  ];
  for (const [text, message] of cases)
    refused(t, () => settingsOf(parseFragment(text, 'f.toml')), message);
});

test('a file that others can write is refused', (t) => {
  const folder = etc(t, { 'persona.toml': '[space]\nkeep_free = 1\n' });
  chmodSync(join(folder, 'persona.toml'), 0o666);
  refused(t, () => readSettings(folder), /can be written by others/);
});

test('one setting relocates all trees', (t) => {
  t.deepEqual(pathsOf('/x'), {
    root: '/x',
    etc: '/x/etc',
    state: '/x/state',
    run: '/x/run',
    share: '/x/share',
  });
  t.is(pathsOf(undefined).state, '/var/lib/persona');
  t.throws(() => pathsOf('relative'));
});
