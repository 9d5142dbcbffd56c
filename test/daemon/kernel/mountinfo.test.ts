import test from 'ava';
import fc from 'fast-check';
import { parseMountinfo, readMountinfo } from '../../../daemon/kernel/mountinfo.ts';

test('a line with groups, escapes and options', (t) => {
  const text =
    '54 45 0:41 / /run/a\\040b/root rw,nosuid shared:7 master:3 - overlay persona:x:1 rw,upperdir=/u\\0541\n';
  t.deepEqual(parseMountinfo(text), [
    {
      id: 54,
      parent: 45,
      device: '0:41',
      root: '/',
      at: '/run/a b/root',
      options: ['rw', 'nosuid'],
      shared: 7,
      master: 3,
      type: 'overlay',
      source: 'persona:x:1',
      superOptions: ['rw', 'upperdir=/u\\0541'],
    },
  ]);
});

test('lines that cannot be read are left out', (t) => {
  t.deepEqual(parseMountinfo('garbage\n1 2 3\n\n'), []);
});

test('any text is read without an error', (t) => {
  t.notThrows(() =>
    fc.assert(fc.property(fc.string(), (text) => Array.isArray(parseMountinfo(text)))),
  );
});

test('names come back as they were', (t) => {
  const escaped = (name: string) =>
    name.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const name = fc.string({
    unit: fc.constantFrom('a', ' ', '\t', '\n', '\\', '0', 'é'),
    minLength: 1,
  });
  t.notThrows(() =>
    fc.assert(
      fc.property(name, (at) => {
        const line = `1 0 0:1 / /${escaped(at)} rw - tmpfs none rw`;
        return parseMountinfo(line)[0]?.at === `/${at}`;
      }),
    ),
  );
});

test('the own mount table has a root', (t) => {
  t.true(readMountinfo().some((line) => line.at === '/'));
});
