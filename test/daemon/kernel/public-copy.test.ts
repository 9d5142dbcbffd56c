import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { PublicCopy } from '../../../daemon/kernel/public-copy.ts';
import { temporaryFolder } from '../../support/temp.ts';

const names = ['file', 'folder', 'link', 'absent'];

/** A folder of settings, and a copy of some of it. */
function ground(t: ExecutionContext) {
  const [from, to] = ['from', 'to'].map((name) => join(temporaryFolder(t), name)) as [
    string,
    string,
  ];
  const put = (name: string, text: string, mode = 0o644) => {
    writeFileSync(join(from, name), text);
    chmodSync(join(from, name), mode);
  };
  mkdirSync(join(from, 'folder/below'), { recursive: true });
  for (const folder of ['', 'folder', 'folder/below']) chmodSync(join(from, folder), 0o755);
  put('file', 'a setting\n');
  put('other', 'not asked for\n');
  put('folder/below/deep', 'deep\n');
  put('folder/secret', 'secret\n', 0o640);
  mkdirSync(join(from, 'folder/private'), { mode: 0o710 });
  put('folder/private/key', 'a key\n');
  symlinkSync('/usr/bin/env', join(from, 'link'));
  symlinkSync('nowhere', join(from, 'folder/away'));
  const copy = new PublicCopy(from, to, names);
  t.teardown(() => copy.close());
  const read = (name: string) => readFileSync(join(to, name), 'utf8');
  return { from, to, put, copy, read };
}

test('what was named is copied as far as everybody may read it, and is nobody else’s', (t) => {
  const { to, copy, read } = ground(t);
  copy.renew();
  t.deepEqual(readdirSync(to).sort(), ['file', 'folder', 'link']);
  t.deepEqual(readdirSync(join(to, 'folder')).sort(), ['away', 'below']);
  t.is(read('file'), 'a setting\n');
  t.is(read('folder/below/deep'), 'deep\n');
  t.is(readlinkSync(join(to, 'link')), '/usr/bin/env');
  t.is(readlinkSync(join(to, 'folder/away')), 'nowhere');
  t.is(statSync(join(to, 'file')).mode & 0o777, 0o444);
  t.is(statSync(to).mode & 0o777, 0o755);
});

test('whatever was changed before it is asked is in it, and what was not is not written again', (t) => {
  const { from, to, put, copy, read } = ground(t);
  copy.renew();
  const kept = lstatSync(join(to, 'folder/below/deep')).ino;
  const seen = (what: string, change: () => void, check: () => void) => {
    change();
    copy.renew();
    t.notThrows(check, what);
  };
  seen(
    'written in place',
    () => put('file', 'a change\n'),
    () => t.is(read('file'), 'a change\n'),
  );
  seen(
    'replaced',
    () => {
      put('fresh', 'another\n');
      renameSync(join(from, 'fresh'), join(from, 'file'));
    },
    () => t.is(read('file'), 'another\n'),
  );
  seen(
    'taken from everybody',
    () => chmodSync(join(from, 'file'), 0o600),
    () => t.deepEqual(readdirSync(to).sort(), ['folder', 'link']),
  );
  seen(
    'a folder in the place of a link, and a link in that of a folder',
    () => {
      rmSync(join(from, 'link'));
      mkdirSync(join(from, 'link'));
      chmodSync(join(from, 'link'), 0o755);
      put('link/in', 'new\n');
    },
    () => t.is(read('link/in'), 'new\n'),
  );
  seen(
    'in a folder that came later',
    () => put('link/in', 'newer\n'),
    () => t.is(read('link/in'), 'newer\n'),
  );
  seen(
    'a link in the place of a folder',
    () => {
      rmSync(join(from, 'link'), { recursive: true });
      symlinkSync('/usr/bin/false', join(from, 'link'));
    },
    () => t.is(readlinkSync(join(to, 'link')), '/usr/bin/false'),
  );
  seen(
    'a name that was not there',
    () => put('absent', 'there\n'),
    () => t.is(read('absent'), 'there\n'),
  );
  seen(
    'removed',
    () => rmSync(join(from, 'absent')),
    () => t.false(readdirSync(to).includes('absent')),
  );
  t.is(lstatSync(join(to, 'folder/below/deep')).ino, kept);
});

test('who has the copy open sees what changes; another process takes it up as it lies there', (t) => {
  const { from, to, put, copy } = ground(t);
  copy.renew();
  const { ino } = statSync(to);
  copy.close();
  put('file', 'a change\n');
  writeFileSync(join(to, 'stray'), '');
  const again = new PublicCopy(from, to, names);
  t.teardown(() => again.close());
  again.renew();
  t.is(readFileSync(join(to, 'file'), 'utf8'), 'a change\n');
  t.is(statSync(to).ino, ino);
  t.false(readdirSync(to).includes('stray'));
});

test('a name that leads elsewhere, and a folder without end, are refused; nothing stays open', (t) => {
  const { from, copy } = ground(t);
  const open = openFds();
  rmSync(join(from, 'link'));
  symlinkSync(join(from, 'other'), join(from, 'link'));
  t.throws(() => copy.renew(), { code: 'ENOTSUP' });
  rmSync(join(from, 'link'));
  const deep = join(from, 'folder', ...Array.from({ length: 16 }, () => 'x'));
  mkdirSync(deep, { recursive: true });
  t.throws(() => copy.renew(), { code: 'ELOOP' });
  t.is(openFds(), open);
  rmSync(join(from, 'folder/x'), { recursive: true });
  t.notThrows(() => copy.renew());
});
