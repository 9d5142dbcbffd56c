import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const project = join(import.meta.dirname, '../../..');
const page = readFileSync(join(project, 'daemon/profiles/README.md'), 'utf8');

/** How many kinds of attack there are: none may be left out. */
const KINDS = 14;
/** The list of kinds: the number of each. */
const threats = page.slice(page.indexOf('## Threats'));
const kinds = [...threats.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
/** Rows of the table: the kind, the file and the title of each test. */
const named = [...threats.matchAll(/^\| (\d+) \|.*\| `([\w/-]+\.test\.ts)`: (.*) \|$/gm)].map(
  ([, kind, file = '', title = '']) => ({ kind: Number(kind), file, title }),
);
const rows = threats.split('\n').filter((line) => /^\| \d/.test(line)).length;

test('each attack of the threats page names a test that there is', (t) => {
  t.true(named.length > 20);
  for (const { file, title } of named) {
    const text = readFileSync(join(project, 'test', file), 'utf8');
    const written = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
    t.true(written, `${file}: ${title}`);
  }
});

test('each kind of attack has a row, and each row a kind and a test', (t) => {
  const all = Array.from({ length: KINDS }, (_, n) => n + 1);
  t.deepEqual(kinds, all);
  t.deepEqual(
    [...new Set(named.map(({ kind }) => kind))].toSorted((a, b) => a - b),
    all,
  );
  t.is(named.length, rows);
});
