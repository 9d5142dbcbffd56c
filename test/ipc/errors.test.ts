import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  type ErrorRow,
  errorTable,
  exitStatus,
  fromWire,
  PersonaError,
  toWire,
} from '../../ipc/errors.ts';

const root = join(import.meta.dirname, '../..');
const rows = Object.entries(errorTable) as [string, ErrorRow][];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
    .filter((name) => name !== 'ipc/error-table.ts');
}

test('every row says what cannot be done, what to do next, and a known exit status', (t) => {
  const known = new Set<number>(Object.values(exitStatus));
  for (const [code, row] of rows) {
    t.regex(code, /^[a-z]+(-[a-z]+)*$/);
    t.regex(row.message, /^cannot /, code);
    t.false(row.message.endsWith('.'), code);
    t.true(row.hint.length > 10 && /[.]$/.test(row.hint), code);
    t.true(known.has(row.exit) && row.exit !== 0, code);
  }
});

test('every code is thrown somewhere, and every thrown code is in the table', (t) => {
  const text = ['ipc', 'daemon', 'ctl'].flatMap(sources).map((f) => readFileSync(f, 'utf8'));
  const all = text.join('\n');
  for (const [code] of rows) t.true(all.includes(`'${code}'`), `${code} is never used`);
  for (const [, code] of all.matchAll(/new PersonaError\(\s*'([^']+)'/g)) {
    t.true(Object.hasOwn(errorTable, code ?? ''), `${code} is not in the table`);
  }
});

test('an error crosses the wire without its cause or stack', (t) => {
  const error = new PersonaError('slot-not-found', { slot: 'work' }, { cause: new Error('x') });
  const wire = JSON.parse(JSON.stringify(toWire(error)));
  t.deepEqual(Object.keys(wire).sort(), ['code', 'detail', 'exit', 'hint', 'message']);
  const back = fromWire(wire);
  t.is(back.message, 'cannot find slot work');
  t.is(back.exit, exitStatus.notFound);
  t.is(back.code, 'slot-not-found');
});

test('a code of a newer daemon keeps its words and exit status', (t) => {
  const back = fromWire({ code: 'from-the-future', message: 'cannot fly', hint: 'Wait.', exit: 6 });
  t.is(back.message, 'cannot fly');
  t.is(back.exit, 6);
});

test('what is not a PersonaError becomes internal', (t) => {
  t.is(toWire(new TypeError('boom')).code, 'internal');
  t.is(toWire('boom').message, 'cannot finish: internal error: boom');
});

test('a reason that the form does not mention is appended', (t) => {
  const error = new PersonaError('already-exists', { what: 'slot a', reason: 'on disk' });
  t.is(error.message, 'cannot create slot a: it exists already: on disk');
});
