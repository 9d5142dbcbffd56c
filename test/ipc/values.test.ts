import test from 'ava';
import fc from 'fast-check';
import {
  checkName,
  digestFromFileName,
  digestToFileName,
  escapeText,
  formatDuration,
  formatSize,
  isName,
  parseSize,
} from '../../ipc/values.ts';

test('names follow the grammar', (t) => {
  for (const good of ['a', '0', 'work', 'debian-12.5', 'a_b', 'x'.repeat(63)]) {
    t.true(isName(good), good);
  }
  const bad = ['', '.', '..', 'a..b', '-a', '.a', '_a', 'A', 'a b', 'a/b', 'a\n', 'ä', 'a\0'];
  for (const name of [...bad, 'x'.repeat(64)]) t.false(isName(name), JSON.stringify(name));
  t.throws(() => checkName('../x'), { code: 'bad-name' });
});

test('digests and their file names are each other', (t) => {
  const digest = `sha256:${'0a'.repeat(32)}`;
  t.is(digestToFileName(digest), `sha256-${'0a'.repeat(32)}`);
  t.is(digestFromFileName(digestToFileName(digest)), digest);
  t.is(digestFromFileName(digest), undefined);
  t.is(digestFromFileName('sha256-zz'), undefined);
  t.throws(() => digestToFileName('sha256:../../x'), { code: 'bad-value' });
});

test('sizes are read and written', (t) => {
  t.is(parseSize('512'), 512);
  t.is(parseSize('8G'), 8 * 1024 ** 3);
  t.is(parseSize('1.5GiB'), 1.5 * 1024 ** 3);
  t.is(parseSize('64kb'), 65_536);
  for (const bad of ['', '-1', '1e9', 'G', '1 X', '9999999999P', '1.5.5']) {
    t.throws(() => parseSize(bad), { code: 'bad-value' }, bad);
  }
  t.is(formatSize(0), '0 B');
  t.is(formatSize(1023), '1023 B');
  t.is(formatSize(1024), '1 KiB');
  t.is(formatSize(1_610_612_736), '1.50 GiB');
  t.is(formatSize(1024 ** 2 - 1), '1 MiB');
  t.is(formatDuration(0.34), '340 us');
  t.is(formatDuration(1.23), '1.2 ms');
  t.is(formatDuration(90_000), '2 min');
});

test('escapeText() leaves nothing that moves the cursor or reorders text', (t) => {
  t.is(escapeText('a\x1b[31mb'), 'a\\x1b[31mb');
  t.is(escapeText('gpj.\u202eexe'), 'gpj.\\u{202e}exe');
  t.is(escapeText('zero\u200bwidth\u{e0041}'), 'zero\\u{200b}width\\u{e0041}');
  t.is(escapeText('naïve 漢字'), 'naïve 漢字');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const safe = escapeText(text);
      return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(safe) && escapeText(safe) === safe;
    }),
  );
});
