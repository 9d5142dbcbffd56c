import test from 'ava';
import fc from 'fast-check';
import {
  type CanonicalValue,
  canonicalJson,
  parseStrictJson,
} from '../../../daemon/images/canonical-json.ts';

const text = fc.string({ unit: 'grapheme' }).filter((value) => value.isWellFormed());
const key = text.filter((value) => value !== '__proto__');
const value = fc.letrec<{ any: CanonicalValue }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    text,
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(key, tie('any'), { maxKeys: 4 }),
  ),
})).any;

const parse = (json: string) => parseStrictJson(Buffer.from(json));

test('one value has one form, which reads back as the value', (t) => {
  fc.assert(
    fc.property(value, (given) => {
      const json = canonicalJson(given);
      const back = parse(json);
      t.true('value' in back);
      t.is(canonicalJson((back as { value: CanonicalValue }).value), json);
      t.is(JSON.stringify(JSON.parse(json)).length, json.length);
    }),
    { numRuns: 500 },
  );
});

test('the order of keys does not matter, and sorts as RFC 8785 says', (t) => {
  const json = canonicalJson({
    b: 1,
    a: [-0, { z: '\n"\u20ac', y: null }],
    '\u20ac': 2,
    '\u{1f600}': 3,
  });
  t.is(json, '{"a":[0,{"y":null,"z":"\\n\\"€"}],"b":1,"€":2,"😀":3}');
});

test('floats, broken strings and missing values have no form', (t) => {
  for (const bad of [1.5, Number.NaN, 2 ** 53, '\ud800', undefined, { a: undefined }]) {
    t.throws(() => canonicalJson(bad as CanonicalValue), { code: 'bad-value' });
  }
});

const problems: [string, string, RegExp][] = [
  ['a key twice', '{"a":1,"b":{"a":2},"a":3}', /"a" twice/],
  ['a key twice, written differently', '{"a":1,"\\u0061":3}', /"a" twice/],
  ['a key twice, after much space', `{"a":1,"a"${' '.repeat(200)}:2}`, /"a" twice/],
  ['__proto__', '{"x":{"__proto__":1}}', /cannot be one/],
  ['deep nesting', '['.repeat(100_000), /nested deeper/],
  ['no JSON', '{"a":1,}', /not JSON/],
  ['an open string', '{"a', /cannot be one|not JSON/],
  ['a byte order mark', '\ufeff{}', /not JSON/],
];
for (const [title, json, message] of problems) {
  test(`refused: ${title}`, (t) => {
    const result = parse(json);
    t.regex('problem' in result ? result.problem : '', message);
  });
}

test('bytes that are not UTF-8 are refused', (t) => {
  t.deepEqual(parseStrictJson(Buffer.from([0x22, 0xff, 0x22])), { problem: 'is not UTF-8' });
});

test('equal keys in different objects, and equal values, are fine', (t) => {
  t.true('value' in parse('[{"a":"a"},{"a":"a"},["a","a"],{"b":["a","a"],"a":{"a":"\\\\"}}]'));
});

test('strings of many megabytes are read in a moment', (t) => {
  const json = JSON.stringify({ a: '\\"'.repeat(3_000_000), b: 'x'.repeat(5_000_000) });
  t.true('value' in parse(json));
});
