import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { personactl as runTool } from '../ctl/tool.ts';
import { confinedNeeds, lacking, when } from '../support/needs.ts';
import { builtOsp } from '../support/osp-builder.ts';
import { builtTar } from '../support/tar-builder.ts';
import { done, longScope } from './live-daemon.ts';
import { type Place, populated } from './place.ts';

// SECURITY 31: whatever people write into names, descriptions and files, no printer moves a cursor or
// reorders text: pages, errors, JSON, lists of changes, and the log of the daemon.

const needs = confinedNeeds;
const scope = longScope();
let place: Place;
if (lacking(needs) === undefined) {
  test.before(async () => {
    place = await populated(scope);
  });
  test.after.always(() => scope.end());
}

/** Clears the screen, sets the title, turns text round, hides it, breaks lines; and is a word to be found. */
const evil =
  'evil\u001b[2J\u001b]0;title\u0007\u202egnp.exe\u2066\u200b\u009b31m\u2028\r\nfake: ok\u{e0041}\ufeff';
/** The same without control characters, which descriptions may not have. */
const quiet = 'evil\u202egnp.exe\u2066\u200b\u{e0041}\ufeff';
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** What the tool prints, on both streams. */
async function personactl(...args: string[]): Promise<{ text: string; status: number }> {
  const { out, err, status } = await runTool({ root: place.root, cwd: '/' }, ...args);
  return { text: out + err, status };
}

/** The text as terminals get it: nothing but lines and printable characters. */
const isSafe = (text: string) => !unsafe.test(text.replaceAll('\n', ''));

when(test, needs)('evil words are escaped wherever they are printed', async (t) => {
  const client = await place.daemon.client();
  const tree = join(place.root, evil);
  mkdirSync(join(tree, `etc/${evil}`), { recursive: true });
  chmodSync(tree, 0o755);
  writeFileSync(join(tree, `etc/${evil}/file`), 'x');
  writeFileSync(
    join(tree, 'etc/os-release'),
    `ID=test\nPRETTY_NAME="${evil.replace(/[\r\n]/g, '')}"\n`,
  );
  await done(client, 'base.import', { name: 'odd', source: { kind: 'path', path: tree } });
  await done(client, 'persona.create', {
    name: 'odd',
    base: 'base',
    tree: { kind: 'path', path: tree },
    description: quiet,
    version: '1',
    environment: { WORD: quiet },
  });
  const printed: [string, string[]][] = [
    ['personas', ['persona', 'list']],
    ['a persona', ['persona', 'show', 'odd']],
    ['a difference', ['persona', 'diff', 'base', 'odd']],
    ['bases', ['base', 'list']],
    ['changes', ['change', 'list', '--all']],
  ];
  const { changes } = await client.call('change.list', { all: true });
  for (const { id } of changes.slice(0, 2))
    printed.push(['a change', ['change', 'show', String(id)]]);
  let seen = 0;
  for (const [what, args] of printed)
    for (const more of [[], ['--json']]) {
      const { text, status } = await personactl(...args, ...more);
      t.is(status, 0, `${what}: ${text}`);
      t.true(isSafe(text), `${what} ${more}: ${JSON.stringify(text)}`);
      if (text.includes('evil')) seen += 1;
    }
  t.true(seen >= 6, `the evil words are shown, escaped: ${seen}`);
});

when(test, needs)('evil words in errors, arguments and files', async (t) => {
  const osp = join(place.root, 'evil.osp');
  const digest = (await (await place.daemon.client()).call('base.show', { base: 'base' })).base
    .digest;
  const write = (bytes: Buffer) => writeFileSync(osp, bytes);
  const cases: [string, () => void, string[]][] = [
    ['a name', () => {}, ['slot', 'create', evil]],
    ['a path', () => {}, ['base', 'import', 'x', '--from', `/nowhere/${evil.replace(/\0/g, '')}`]],
    ['a command', () => {}, [evil]],
    ['an option', () => {}, ['status', `--${evil}`]],
    [
      'the name of a persona',
      () => write(builtOsp({ metadata: (v) => ({ ...v, base_digest: digest, name: evil }) })),
      ['persona', 'import', osp],
    ],
    [
      'a base it needs',
      () => write(builtOsp({ metadata: (v) => ({ ...v, base_digest: evil }) })),
      ['persona', 'import', osp],
    ],
    [
      'a member',
      () => write(builtTar({ name: `evil\u001b[2J`, data: 'x' })),
      ['persona', 'import', osp],
    ],
    [
      'a path in a tree',
      () => write(builtTar({ name: '../evil\u001b[2J\u009b', data: 'x' })),
      ['base', 'import', 'x', '--from', osp],
    ],
    [
      'an application',
      () =>
        write(
          builtOsp({
            applications: `evil\u001b[2J\u202e\n`,
            metadata: (v) => ({ ...v, base_digest: digest }),
          }),
        ),
      ['persona', 'import', osp],
    ],
  ];
  for (const [what, make, args] of cases) {
    make();
    for (const more of what.startsWith('a path') ? [[], ['--json']] : [[]]) {
      const { text, status } = await personactl(...args, ...more);
      t.not(status, 0, `${what} is refused`);
      t.true(isSafe(text), `${what} ${more}: ${JSON.stringify(text)}`);
    }
  }
  const log = place.daemon.output();
  t.true(isSafe(log), 'the log of the daemon');
  t.true(
    log.split('\n').every((line) => line === '' || line.startsWith('{')),
    'one object each line',
  );
  t.true(readFileSync(osp).length > 0);
});
