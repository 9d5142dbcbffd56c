import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const project = join(import.meta.dirname, '../../..');
const page = readFileSync(join(project, 'daemon/profiles/README.md'), 'utf8');

/** Rows of the table: the file and the title of each test. */
const named = [...page.matchAll(/^\|.*\| `([\w/-]+\.test\.ts)`: (.*) \|$/gm)].map(
  ([, file = '', title = '']) => ({ file, title }),
);

test('each attack of the threats page names a test that there is', (t) => {
  t.true(named.length > 20);
  for (const { file, title } of named) {
    const text = readFileSync(join(project, 'test', file), 'utf8');
    const written = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
    t.true(written, `${file}: ${title}`);
  }
});
