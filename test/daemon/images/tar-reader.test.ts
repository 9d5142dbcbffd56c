import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import type { Entry } from '../../../daemon/images/entry.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { tarTree } from '../../../daemon/images/tar-reader.ts';
import { treeToTar } from '../../../daemon/images/tar-writer.ts';
import type { Tree } from '../../../daemon/images/tree.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { type BuiltMember, base256, built, builtPax, builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { modelTree, snapshot, treeOfModel } from '../../support/tree-arbitrary.ts';
import {
  readWhole,
  successOrPersonaError,
  treeFacts,
  treeOfImage,
} from '../../support/tree-facts.ts';

const open = (tar: Buffer, limits = {}): Tree =>
  tarTree(bufferSource(tar), { ...defaultLimits, ...limits });

const find = (tree: Tree, path: string): Entry | undefined =>
  tree.entries.find((entry) => entry.path === path);

const paths = (tree: Tree) => tree.entries.map(({ path }) => path);

async function content(tree: Tree, path: string): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of tree.read(find(tree, path)!)) pieces.push(piece);
  return Buffer.concat(pieces).toString('latin1');
}

const sparseRaw = (pairs: [number, number][], size: number, more = 0): Record<number, Buffer> => {
  const text = (value: number) => Buffer.from(`${value.toString(8).padStart(11, '0')}\0`);
  const raw: Record<number, Buffer> = { 482: Buffer.from([more]), 483: text(size) };
  pairs.forEach(([offset, length], i) => {
    raw[386 + 24 * i] = text(offset);
    raw[398 + 24 * i] = text(length);
  });
  return raw;
};

// -- what is refused: title, archive, what the message has to say
const link: BuiltMember = { name: 'link', type: '2', linkName: '/etc' };
const folder: BuiltMember = { name: 'd/', type: '5', mode: 0o755 };
const hostile: [string, Buffer, RegExp][] = [
  ['an absolute path', builtTar({ name: '/etc/passwd' }), /absolute path/],
  ['a path that climbs', builtTar({ name: 'a/../../etc/passwd' }), /climbs out/],
  ['a path that climbs inside', builtTar({ name: 'a/../b' }), /climbs out/],
  ['a path of ..', builtTar({ name: '..' }), /climbs out/],
  ['an empty name', builtTar({ name: '' }), /without a name/],
  [
    'a root that is a file',
    builtTar({ name: './', type: '2', linkName: 'x' }),
    /root is not a folder/,
  ],
  ['a NUL in a pax path', builtTar(builtPax([['path', 'a\0b']]), { name: 'x' }), /NUL/],
  ['a pax path that climbs', builtTar(builtPax([['path', '../x']]), { name: 'x' }), /climbs out/],
  [
    'a GNU name that is absolute',
    builtTar({ name: 'L', type: 'L', data: '/etc/x\0' }, { name: 'x' }),
    /absolute/,
  ],
  [
    'a component over 255 bytes',
    builtTar(builtPax([['path', 'n'.repeat(256)]]), { name: 'x' }),
    /over 255 bytes/,
  ],
  [
    'a path over 4095 bytes',
    builtTar(builtPax([['path', 'n/'.repeat(3000)]]), { name: 'x' }),
    /limit|over/,
  ],
  ['a file through a link', builtTar(link, { name: 'link/passwd' }), /symbolic link/],
  ['a folder through a link', builtTar(link, { name: 'link/a/b/', type: '5' }), /symbolic link/],
  [
    'a hard link through a link',
    builtTar(link, { name: 'h', type: '1', linkName: 'link/passwd' }),
    /symbolic link|not there/,
  ],
  [
    'a used folder turned into a link',
    builtTar(folder, { name: 'd/x' }, { name: 'd', type: '2', linkName: '/etc' }),
    /earlier members use/,
  ],
  [
    'a used folder turned into a file',
    builtTar(folder, { name: 'd/x' }, { name: 'd' }),
    /earlier members use/,
  ],
  [
    'a hard link over a used folder',
    builtTar({ name: 'f' }, folder, { name: 'd/x' }, { name: 'd', type: '1', linkName: 'f' }),
    /earlier members use/,
  ],
  ['a file below a file', builtTar({ name: 'f' }, { name: 'f/x' }), /no folder/],
  [
    'a hard link out of the tree',
    builtTar({ name: 'h', type: '1', linkName: '/etc/passwd' }),
    /absolute/,
  ],
  [
    'a hard link that climbs',
    builtTar({ name: 'h', type: '1', linkName: '../../etc/passwd' }),
    /climbs/,
  ],
  [
    'a hard link to nothing',
    builtTar({ name: 'h', type: '1', linkName: 'later' }, { name: 'later' }),
    /not there before it/,
  ],
  [
    'a hard link to itself',
    builtTar({ name: 'h', type: '1', linkName: 'h' }),
    /not there before it/,
  ],
  [
    'a hard link to a folder',
    builtTar(folder, { name: 'h', type: '1', linkName: 'd' }),
    /hard link to a folder/,
  ],
  ['a symbolic link to nothing', builtTar({ name: 's', type: '2', linkName: '' }), /wrong length/],
  ['a negative size', builtTar({ name: 'n', raw: { 124: base256(-1n) } }), /negative size/],
  [
    'a size beyond all numbers',
    builtTar({ name: 'n', raw: { 124: base256(1n << 80n) } }),
    /out of range/,
  ],
  ['a size beyond the archive', builtTar({ name: 'n', size: 0o77777777 }), /cut off/],
  [
    'a pax size beyond the archive',
    builtTar(builtPax([['size', '9007199254740991']]), { name: 'n' }),
    /cut off|out of range/,
  ],
  [
    'a pax size that is negative',
    builtTar(builtPax([['size', '-1']]), { name: 'n' }),
    /wrong size/,
  ],
  [
    'a pax size that is no number',
    builtTar(builtPax([['size', '1e9']]), { name: 'n' }),
    /wrong size/,
  ],
  ['a negative owner', builtTar({ name: 'n', raw: { 108: base256(-5n, 8) } }), /negative owner/],
  [
    'the owner -1',
    builtTar(builtPax([['uid', '4294967295']]), { name: 'n' }),
    /uid is out of range/,
  ],
  [
    'an octal field that is none',
    builtTar({ name: 'n', raw: { 100: Buffer.from('rwxr-xr') } }),
    /not a number/,
  ],
  ['a wrong checksum', builtTar({ name: 'n', badChecksum: true }), /checksum/],
  ['a member of an unknown type', builtTar({ name: 'n', type: 'Z' }), /unknown type/],
  ['one volume of several', builtTar({ name: 'n', type: 'M' }), /several/],
  ['no end mark', built({ name: 'n', data: 'x' }), /end mark is missing/],
  ['half a header', built({ name: 'n' }).subarray(0, 300), /cut off/],
  ['half a file', built({ name: 'n', data: 'x'.repeat(2000) }).subarray(0, 1024), /cut off/],
  ['nothing at all', Buffer.alloc(0), /end mark is missing/],
  [
    'a joined second archive',
    Buffer.concat([builtTar({ name: 'a' }), builtTar({ name: 'b' })]),
    /follows its end mark/,
  ],
  ['a pax header at the end', builtTar(builtPax([['path', 'x']])), /ends after an extension/],
  [
    'a pax record without length',
    builtTar({ name: 'x', type: 'x', data: 'path=x\n' }, { name: 'n' }),
    /without a length/,
  ],
  [
    'a pax record too long',
    builtTar({ name: 'x', type: 'x', data: '99 path=x\n' }, { name: 'n' }),
    /wrong length/,
  ],
  [
    'a pax record of length 0',
    builtTar({ name: 'x', type: 'x', data: '0 path=x\n' }, { name: 'n' }),
    /without a length/,
  ],
  [
    'a pax record without newline',
    builtTar({ name: 'x', type: 'x', data: '9 path=xy' }, { name: 'n' }),
    /wrong length/,
  ],
  [
    'a pax header of gigabytes',
    builtTar({ name: 'x', type: 'x', size: 0o40000000 }),
    /extension header of/,
  ],
  [
    'a GNU name of megabytes',
    builtTar({ name: 'x', type: 'L', data: 'n'.repeat(100_000) }),
    /extension header of/,
  ],
  [
    'extension headers without end',
    builtTar(...Array.from({ length: 20 }, () => builtPax([['comment', 'x']]))),
    /too many extension/,
  ],
  [
    'one size for every member',
    builtTar(builtPax([['size', '5']], 'g'), { name: 'n' }),
    /every member the same size/,
  ],
  ['a wrong pax time', builtTar(builtPax([['mtime', 'now']]), { name: 'n' }), /wrong time/],
  [
    'a redirect of overlayfs',
    builtTar(builtPax([['SCHILY.xattr.trusted.overlay.redirect', '/etc']]), folder),
    /steers overlayfs/,
  ],
  [
    'a metacopy of overlayfs',
    builtTar(builtPax([['SCHILY.xattr.trusted.overlay.metacopy', '']]), { name: 'n' }),
    /steers overlayfs/,
  ],
  [
    'an escaped overlay attribute',
    builtTar(builtPax([['LIBARCHIVE.xattr.trusted.overlay%2eredirect', 'eA==']]), folder),
    /steers overlayfs/,
  ],
  [
    'an attribute that is not base64',
    builtTar(builtPax([['LIBARCHIVE.xattr.user.a', '!!']]), { name: 'n' }),
    /base64/,
  ],
  [
    'an attribute over 64 KiB',
    builtTar(builtPax([['SCHILY.xattr.user.a', 'x'.repeat(70_000)]]), { name: 'n' }),
    /wrong length/,
  ],
  [
    'an unknown account in an access list',
    builtTar(
      builtPax([['SCHILY.acl.access', 'user::rw-,user:bob:rwx,group::r--,mask::rwx,other::r--']]),
      { name: 'n' },
    ),
    /bob/,
  ],
  [
    'a broken access list',
    builtTar(builtPax([['SCHILY.acl.access', 'user::banana']]), { name: 'n' }),
    /access list/,
  ],
  [
    'a device number out of range',
    builtTar({ name: 'c', type: '3', major: 0o77777 }),
    /major is out of range/,
  ],
  [
    'an old sparse map out of order',
    builtTar({
      name: 's',
      type: 'S',
      data: 'ab',
      raw: sparseRaw(
        [
          [10, 1],
          [5, 1],
        ],
        100,
      ),
    }),
    /out of order/,
  ],
  [
    'an old sparse map past the end',
    builtTar({ name: 's', type: 'S', data: 'a', raw: sparseRaw([[200, 1]], 100) }),
    /out of order/,
  ],
  [
    'an old sparse map that lies',
    builtTar({ name: 's', type: 'S', data: 'ab', raw: sparseRaw([[0, 1]], 100) }),
    /does not fit/,
  ],
  [
    'a sparse map that overlaps',
    builtTar(
      builtPax([
        ['GNU.sparse.size', '100'],
        ['GNU.sparse.map', '0,5,3,5'],
      ]),
      { name: 's', data: '0123456789' },
    ),
    /out of order/,
  ],
  [
    'a sparse map of half a pair',
    builtTar(
      builtPax([
        ['GNU.sparse.size', '100'],
        ['GNU.sparse.map', '0,5,3'],
      ]),
      { name: 's', data: '01234' },
    ),
    /incomplete/,
  ],
  [
    'sparse records out of order',
    builtTar(
      builtPax([
        ['GNU.sparse.size', '9'],
        ['GNU.sparse.numbytes', '1'],
      ]),
      { name: 's', data: '0' },
    ),
    /out of order/,
  ],
  [
    'a sparse map of another version',
    builtTar(
      builtPax([
        ['GNU.sparse.major', '2'],
        ['GNU.sparse.minor', '0'],
      ]),
      { name: 's' },
    ),
    /unknown form/,
  ],
  [
    'a sparse map longer than its file',
    builtTar(
      builtPax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '9'],
      ]),
      { name: 's', data: '' },
    ),
    /longer than its file/,
  ],
  [
    'a sparse map with a huge count',
    builtTar(
      builtPax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '9'],
      ]),
      { name: 's', data: '999999999\n'.padEnd(512, '\0') },
    ),
    /more than/,
  ],
];

for (const [title, tar, message] of hostile) {
  test(`refused: ${title}`, (t) => {
    const error = t.throws(() => open(tar), { instanceOf: PersonaError });
    t.regex(error.message, message);
    t.regex(error.code, /^(?:bad-archive|bad-image|limit-exceeded)$/);
  });
}

test('refused: a deletion mark stays what it is, and is refused where a tree is checked', (t) => {
  const tree = open(builtTar({ name: 'gone', type: '3' }));
  t.deepEqual(find(tree, 'gone')?.rdev, [0, 0]);
});

test('limits count what comes out: entries, sizes, depth', (t) => {
  const many = Array.from({ length: 50 }, (_, i) => ({ name: `f${i}` }));
  t.throws(() => open(builtTar(...many), { entries: 40 }), { code: 'limit-exceeded' });
  const same = Array.from({ length: 50 }, () => ({ name: 'same' }));
  t.throws(() => open(builtTar(...same), { entries: 40 }), { code: 'limit-exceeded' });
  const deep = builtTar(builtPax([['path', 'd/'.repeat(600)]]), { name: 'x', type: '5' });
  t.throws(() => open(deep), { code: 'limit-exceeded' });
  const sparse = builtTar(
    builtPax([
      ['GNU.sparse.size', '9000000000000000'],
      ['GNU.sparse.map', ''],
    ]),
    { name: 's' },
  );
  t.throws(() => open(sparse), { code: 'limit-exceeded' });
  const attributes = builtPax([
    ['SCHILY.xattr.user.a', 'x'.repeat(60_000)],
    ['SCHILY.xattr.user.b', 'x'.repeat(60_000)],
    ['SCHILY.xattr.user.c', 'x'.repeat(60_000)],
  ]);
  t.throws(() => open(builtTar(attributes, { name: 'n' })), { code: 'limit-exceeded' });
});

test('a million members are refused in bounded time and memory', (t) => {
  const block = built({ name: 'x' });
  const tar = Buffer.alloc(512 * 1_000_000);
  for (let i = 0; i < 1_000_000; i++) block.copy(tar, 512 * i);
  const before = process.memoryUsage().heapUsed;
  t.throws(() => open(tar, { entries: 500_000 }), { code: 'limit-exceeded' });
  t.true(process.memoryUsage().heapUsed - before < 256 * 1024 * 1024);
});

// -- what is accepted
test('later members win: files over files, folders keep what is inside', async (t) => {
  const tree = open(
    builtTar(
      { name: './', type: '5', mode: 0o700, uid: 7 },
      { name: './a', data: 'first' },
      { name: 'b', type: '1', linkName: 'a' },
      { name: 'a', data: 'second' },
      { name: 'd', type: '5', mode: 0o755 },
      { name: 'd/x', data: 'x' },
      { name: 'd/', type: '5', mode: 0o711 },
      { name: 's', type: '2', linkName: '../../outside' },
      { name: 's', data: 'now a file' },
      { name: 'implied//./deep/', type: '5' },
    ),
  );
  t.deepEqual(paths(tree), ['', 'a', 'b', 'd', 'd/x', 'implied', 'implied/deep', 's']);
  t.is(await content(tree, 'a'), 'second');
  t.is(await content(tree, 'b'), 'first');
  t.is(find(tree, 'b')?.type, 'file');
  t.is(find(tree, 'd')?.mode, 0o711);
  t.deepEqual([find(tree, '')?.mode, find(tree, '')?.uid], [0o700, 7]);
  t.deepEqual([find(tree, 'implied')?.mode, find(tree, 'implied')?.mtime], [0o755, 0]);
});

test('hard links are owned by their first name in path order', async (t) => {
  const tree = open(
    builtTar(
      { name: 'z', data: 'shared' },
      { name: 'm', type: '1', linkName: './z' },
      { name: 'a', type: '1', linkName: 'm' },
    ),
  );
  t.deepEqual(
    tree.entries.map(({ path, type, target }) => [path, type, target]),
    [
      ['', 'dir', undefined],
      ['a', 'file', undefined],
      ['m', 'hardlink', 'a'],
      ['z', 'hardlink', 'a'],
    ],
  );
  t.is(await content(tree, 'a'), 'shared');
});

test('numbers beyond octal, times before 1970, names beyond 100 bytes', (t) => {
  const tree = open(
    builtTar(
      { name: 'old', raw: { 108: base256(3_000_000_000n, 8), 136: base256(-5n) } },
      builtPax([
        ['path', `long/${'n'.repeat(200)}`],
        ['uid', '70000'],
        ['mtime', '-1.25'],
        ['gid', '5'],
      ]),
      { name: 'short' },
      { name: '././@LongLink', type: 'L', data: `gnu/${'g'.repeat(150)}\0` },
      { name: '././@LongLink', type: 'K', data: `${'t'.repeat(150)}\0` },
      { name: 'cut', type: '2', linkName: 'cut', magic: 'ustar  \0' },
      { name: 'file', prefix: 'pre/fix' },
      { name: 'v7/', type: '0', magic: '', mode: 0o755 },
      builtPax(
        [
          ['comment', 'for all'],
          ['uid', '9'],
        ],
        'g',
      ),
      { name: 'x-global' },
      builtPax([['uid', '']]),
      { name: 'x-none', uid: 3 },
    ),
  );
  t.deepEqual([find(tree, 'old')?.uid, find(tree, 'old')?.mtime], [3_000_000_000, -5]);
  const long = find(tree, `long/${'n'.repeat(200)}`);
  t.deepEqual([long?.uid, long?.gid, long?.mtime, long?.mtimeNs], [70_000, 5, -2, 750_000_000]);
  t.is(find(tree, `gnu/${'g'.repeat(150)}`)?.target, 't'.repeat(150));
  t.is(find(tree, 'pre/fix/file')?.type, 'file');
  t.is(find(tree, 'v7')?.type, 'dir');
  t.is(find(tree, 'x-global')?.uid, 9);
  t.is(find(tree, 'x-none')?.uid, 3);
});

test('old GNU sparse files, with further map blocks', async (t) => {
  const extra = Buffer.alloc(512);
  const text = (value: number) => Buffer.from(`${value.toString(8).padStart(11, '0')}\0`);
  text(5000).copy(extra, 0);
  text(2).copy(extra, 12);
  const tree = open(
    builtTar(
      built({
        name: 's',
        type: 'S',
        size: 10,
        raw: sparseRaw(
          [
            [0, 2],
            [1000, 2],
            [2000, 2],
            [3000, 2],
          ],
          6000,
          1,
        ),
      }),
      extra,
      Buffer.from('aabbccddee'.padEnd(512, '\0')),
      { name: 'next', data: 'n' },
    ),
  );
  t.deepEqual(find(tree, 's')?.extents, [
    [0, 2],
    [1000, 2],
    [2000, 2],
    [3000, 2],
    [5000, 2],
  ]);
  t.is(find(tree, 's')?.size, 6000);
  t.is(await content(tree, 's'), 'aabbccddee');
  t.is(await content(tree, 'next'), 'n');
});

test('access lists as text: numbers, star ids, names of the archive itself, minimal ones dropped', (t) => {
  const acl = (who: string) => `user::rw-\n${who}:rwx\ngroup::r--\nmask::rwx\nother::r--\n`;
  const tree = open(
    builtTar(
      builtPax([['SCHILY.acl.access', acl('user:bob')]]),
      { name: 'by-name' },
      builtPax([['SCHILY.acl.access', acl('user:1234')]]),
      { name: 'by-number' },
      builtPax([
        ['SCHILY.acl.access', 'user::rw-,user:eve:rwx:1234,group::r--,mask::rwx,other::r--'],
      ]),
      { name: 'by-star' },
      builtPax([['SCHILY.acl.access', 'user::rw-,group::r--,other::r--']]),
      { name: 'minimal' },
      // The names may come before the file that explains them.
      { name: './etc/passwd', data: 'root:x:0:0::/:\nbob:x:1234:1::/:\n' },
    ),
  );
  const expected = find(tree, 'by-number')?.xattrs;
  t.is(expected?.[0]?.[0], 'system.posix_acl_access');
  t.deepEqual(find(tree, 'by-name')?.xattrs, expected);
  t.deepEqual(find(tree, 'by-star')?.xattrs, expected);
  t.deepEqual(find(tree, 'minimal')?.xattrs, []);
});

// -- tars of real tools, and our own
const forms: [string, string[]][] = [
  ['pax with holes 1.0', ['--sparse']],
  ['pax with holes 0.1', ['--sparse', '--sparse-version=0.1']],
  ['pax with holes 0.0', ['--sparse', '--sparse-version=0.0']],
  ['pax without holes', []],
];
for (const [title, options] of forms) {
  when(test, { root: true, tools: ['tar', 'setfacl', 'setfattr', 'setcap'] })(
    `GNU tar gives the tree that was packed: ${title}`,
    async (t) => {
      const folder = temporaryFolder(t);
      mkdirSync(join(folder, 'tree'));
      fillOddTree(join(folder, 'tree'));
      const file = join(folder, 'x.tar');
      const pack = ['--format=posix', '--xattrs', '--acls', ...options, '-cf', file];
      execFileSync('tar', [...pack, '-C', join(folder, 'tree'), '.']);
      const packed = await treeFacts(await treeOfImage(t, folder, file));
      t.deepEqual(packed, await treeFacts(treeOfFolder(join(folder, 'tree'))));
    },
  );
}

when(test, { root: true, tools: ['tar'] })(
  'the old GNU form gives the same, without attributes',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree'));
    fillOddTree(join(folder, 'tree'), { attributes: false });
    const file = join(folder, 'x.tar');
    execFileSync('tar', ['--format=gnu', '--sparse', '-cf', file, '-C', join(folder, 'tree'), '.']);
    const packed = await treeFacts(await treeOfImage(t, folder, file));
    t.deepEqual(packed, await treeFacts(treeOfFolder(join(folder, 'tree'))));
  },
);

async function gather(tree: Tree): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of treeToTar(tree)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test('what our writer packs, our reader gives back', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelTree, async (model) => {
      const tree = treeOfModel(model);
      tree.entries = tree.entries.filter(({ type }) => type !== 'socket');
      // A group whose first name is a socket has no tar form at all.
      const known = new Set(tree.entries.map(({ path }) => path));
      tree.entries = tree.entries.filter(
        (one) => one.type !== 'hardlink' || known.has(one.target!),
      );
      t.deepEqual(await snapshot(open(await gather(tree))), await snapshot(tree));
    }),
    { numRuns: 100 },
  );
});

when(test, { root: true, tools: ['tar', 'setfacl', 'setfattr', 'setcap'] })(
  'what our writer packs, GNU tar unpacks whole',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree'));
    mkdirSync(join(folder, 'out'));
    fillOddTree(join(folder, 'tree'));
    const tree = treeOfFolder(join(folder, 'tree'));
    writeFileSync(join(folder, 'x.tar'), await gather(tree));
    const options = ['--xattrs', '--xattrs-include=*', '-xpf', join(folder, 'x.tar')];
    execFileSync('tar', ['--numeric-owner', ...options, '-C', join(folder, 'out')]);
    t.deepEqual(await treeFacts(treeOfFolder(join(folder, 'out'))), await treeFacts(tree));
  },
);

test('damage anywhere ends in a tree or in an error of ours', async (t) => {
  const whole = builtTar(
    { name: './', type: '5' },
    { name: 'a/b', data: 'content' },
    builtPax([
      ['path', 'long/name'],
      ['mtime', '1.5'],
      ['SCHILY.xattr.user.x', 'y'],
    ]),
    { name: 'x', data: 'y'.repeat(700) },
    { name: 'h', type: '1', linkName: 'a/b' },
    { name: 'L', type: 'L', data: 'gnu-name\0' },
    {
      name: 's',
      type: 'S',
      data: 'aabb',
      raw: sparseRaw(
        [
          [0, 2],
          [1000, 2],
        ],
        6000,
      ),
    },
    builtPax([
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '9'],
      ['GNU.sparse.name', 'n'],
    ]),
    { name: 'x', data: `${'1\n0\n9\n'.padEnd(512, '\0')}123456789` },
  );
  const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.nat(9),
      async (changes, cut) => {
        const bytes = Buffer.from(whole);
        for (const { at, to } of changes) {
          bytes[at] = to;
          // Half of the changes keep the checksum, so that the parser behind it is reached.
          if (to % 2 === 0) fixChecksum(bytes, at);
        }
        const tar = cut === 0 ? bytes.subarray(0, changes[0]!.at) : bytes;
        await successOrPersonaError(async () => readWhole(open(tar)));
      },
    ),
    { numRuns: 3000 },
  );
  t.pass();
});

function fixChecksum(bytes: Buffer, at: number): void {
  const start = at - (at % 512);
  bytes.write('        ', start + 148, 'latin1');
  let sum = 0;
  for (const byte of bytes.subarray(start, start + 512)) sum += byte;
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, start + 148, 'latin1');
}
