import test from 'ava';
import fc from 'fast-check';
import type { Entry } from '../../../daemon/images/entry.ts';
import { checkEntry } from '../../../daemon/images/entry-grammar.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { comparePaths } from '../../../daemon/images/order.ts';
import { SequenceCheck } from '../../../daemon/images/sequence.ts';
import { arrangeEntries } from '../../../daemon/images/tree.ts';
import { modelTree, treeOfModel } from '../../support/tree-arbitrary.ts';

const zero = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };
const file: Entry = { path: 'a/b', type: 'file', ...zero, size: 10 };
const dir: Entry = { path: '', type: 'dir', ...zero };
const device: Entry = { path: 'n', type: 'char', ...zero, rdev: [0, 0] };
const symlink: Entry = { path: 'l', type: 'symlink', ...zero, mode: 0o777, target: 'x' };
const hardlink: Entry = { path: 'h', type: 'hardlink', ...zero, target: 'a/b' };
const xattr = (name: string, value: string) => ({ xattrs: [[name, value]] });

test('every entry of a good tree passes', (t) => {
  fc.assert(
    fc.property(modelTree, (model) => {
      const check = new SequenceCheck(defaultLimits, 'tree');
      for (const entry of treeOfModel(model).entries) check.next(checkEntry(entry));
      check.end();
    }),
    { numRuns: 50 },
  );
  t.pass();
});

const hostile: Record<string, unknown> = {
  'no object': 7,
  'a list': [file],
  'an absolute path': { ...file, path: '/etc/passwd' },
  'a path that climbs': { ...file, path: 'a/../../etc' },
  'a path that stays': { ...file, path: 'a/./b' },
  'an empty component': { ...file, path: 'a//b' },
  'a slash at the end': { ...file, path: 'a/' },
  'a zero byte': { ...file, path: 'a\0b' },
  'a character that is no byte': { ...file, path: 'a\u0100' },
  'a name of 256 bytes': { ...file, path: 'n'.repeat(256) },
  'a path that is no text': { ...file, path: 7 },
  'an unknown type': { ...file, type: 'door' },
  'a type of the prototype': { ...file, type: 'constructor' },
  'an unknown field': { ...file, redirect: '/' },
  'a field of another type': { ...file, target: 'x' },
  'a negative size': { ...file, size: -1 },
  'a fractional size': { ...file, size: 1.5 },
  'no size': { ...file, size: undefined },
  'a root that is a file': { ...file, path: '' },
  'a mode with type bits': { ...file, mode: 0o100644 },
  'the id that means none': { ...file, uid: 2 ** 32 - 1 },
  'a negative id': { ...file, gid: -1 },
  'too many nanoseconds': { ...file, mtimeNs: 1e9 },
  'a time beyond numbers': { ...file, mtime: 2 ** 60 },
  'a link without target': { ...symlink, target: undefined },
  'a link to nothing': { ...symlink, target: '' },
  'a link with a zero byte': { ...symlink, target: 'a\0b' },
  'a link of 4096 bytes': { ...symlink, target: 't'.repeat(4096) },
  'a link with its own mode': { ...symlink, mode: 0o700 },
  'a hard link that climbs': { ...hardlink, target: '../x' },
  'a hard link to the root': { ...hardlink, target: '' },
  'a hard link with metadata': { ...hardlink, mode: 0o644 },
  'a device without numbers': { ...device, rdev: undefined },
  'a device number too large': { ...device, rdev: [4096, 0] },
  redirect: { ...dir, ...xattr('trusted.overlay.redirect', '/etc') },
  metacopy: { ...file, ...xattr('trusted.overlay.metacopy', '') },
  'the whiteout attribute': { ...file, ...xattr('trusted.overlay.whiteout', 'y') },
  'an opaque file': { ...file, ...xattr('trusted.overlay.opaque', 'y') },
  'an opaque folder of another kind': { ...dir, ...xattr('trusted.overlay.opaque', 'x') },
  'an attribute without name space': { ...file, ...xattr('name', 'v') },
  'an attribute of another name space': { ...file, ...xattr('system.nfs4_acl', 'v') },
  'an attribute named by its name space': { ...file, ...xattr('user.', 'v') },
  'an attribute name with a zero byte': { ...file, ...xattr('user.a\0b', 'v') },
  'attributes out of order': { ...file, xattrs: [...xattr('user.b', '').xattrs, ['user.a', '']] },
  'an attribute twice': { ...file, xattrs: [...xattr('user.b', '').xattrs, ['user.b', '']] },
  'extents out of order': {
    ...file,
    extents: [
      [5, 1],
      [0, 1],
    ],
  },
  'extents that touch': {
    ...file,
    extents: [
      [0, 1],
      [1, 1],
    ],
  },
  'an empty extent': { ...file, extents: [[0, 0]] },
  'an extent over the end': { ...file, extents: [[5, 6]] },
};

for (const [title, value] of Object.entries(hostile)) {
  test(`refused: ${title}`, (t) => {
    t.like(
      t.throws(() => checkEntry(value)),
      { code: 'bad-image' },
    );
  });
}

const large: Record<string, Entry> = {
  'a long path': { ...file, path: `${'n/'.repeat(2100)}n` },
  'a deep path': { ...file, path: `${'n/'.repeat(600)}n` },
  'a large file': { ...file, size: 2 ** 50 },
  'much in attributes': {
    ...file,
    xattrs: [1, 2, 3].map((i) => [`user.${i}`, 'v'.repeat(60_000)]),
  },
};

for (const [title, value] of Object.entries(large)) {
  test(`over a limit: ${title}`, (t) => {
    t.like(
      t.throws(() => checkEntry(value)),
      { code: 'limit-exceeded' },
    );
  });
}

const sequences: Record<string, Entry[]> = {
  'nothing at all': [],
  'no root': [{ ...dir, path: 'a' }],
  'two roots': [dir, dir],
  'a name twice': [dir, { ...dir, path: 'a' }, { ...dir, path: 'a' }],
  'out of order': [dir, { ...dir, path: 'b' }, { ...dir, path: 'a' }],
  'the trap of dashes': [
    dir,
    { ...dir, path: 'foo' },
    { ...dir, path: 'foo-a' },
    { ...dir, path: 'foo/b' },
  ],
  'a missing folder': [dir, file],
  'a file as a folder': [dir, { ...file, path: 'a' }, file],
  'a folder through a link': [dir, { ...symlink, path: 'a' }, file],
  'a hard link to nothing': [dir, hardlink],
  'a hard link to a folder': [dir, { ...dir, path: 'a' }, { ...hardlink, target: 'a' }],
  'a hard link to a later name': [
    dir,
    { ...hardlink, path: 'a', target: 'b' },
    { ...file, path: 'b' },
  ],
  'a deletion mark in a tree': [dir, device],
};

for (const [title, entries] of Object.entries(sequences)) {
  test(`refused as a tree: ${title}`, (t) => {
    const error = t.throws(() => {
      const check = new SequenceCheck(defaultLimits, 'tree');
      for (const entry of entries) check.next(checkEntry(entry));
      check.end();
    });
    t.like(error, { code: 'bad-image' });
  });
}

for (const limits of [{ entries: 2 }, { dataBytes: 15 }, { metadataBytes: 5 }]) {
  test(`limits over a whole tree: ${Object.keys(limits)}`, (t) => {
    const check = new SequenceCheck({ ...defaultLimits, ...limits }, 'tree');
    const error = t.throws(() => {
      check.next(dir);
      check.next({ ...file, path: 'abc' });
      check.next({ ...file, path: 'def' });
    });
    t.like(error, { code: 'limit-exceeded' });
  });
}

test('paths are ordered bytewise, with the slash lowest', (t) => {
  const sorted = ['', 'foo', 'foo/b', 'foo/b/c', 'foo/b!', 'foo\x01', 'foo-a', 'foo.', 'g', '\xff'];
  t.deepEqual([...sorted].reverse().sort(comparePaths), sorted);
});

test('the order of paths is that of their components', (t) => {
  const name = fc.stringMatching(/^[ab\-./]{0,6}$/);
  fc.assert(
    fc.property(name, name, (a, b) => {
      const x = a.split('/');
      const y = b.split('/');
      const at = x.findIndex((part, i) => part !== y[i]);
      const expected =
        at < 0 ? x.length - y.length : y[at] === undefined ? 1 : (x[at] as string) < y[at] ? -1 : 1;
      t.is(Math.sign(comparePaths(a, b)), Math.sign(expected));
    }),
  );
});

test('a hard-link group is owned by its first name, and the object stays the same', (t) => {
  const owner: Entry = { ...file, path: 'm', mode: 0o640 };
  const links = ['z', 'c'].map((path): Entry => ({ ...hardlink, path, target: 'm' }));
  const chained: Entry = { ...hardlink, path: 'd', target: 'z' };
  const arranged = arrangeEntries([...links, owner, chained, { ...dir }]);
  t.deepEqual(
    arranged.map(({ path, type, target }) => [path, type, target]),
    [
      ['', 'dir', undefined],
      ['c', 'file', undefined],
      ['d', 'hardlink', 'c'],
      ['m', 'hardlink', 'c'],
      ['z', 'hardlink', 'c'],
    ],
  );
  t.is(arranged[1], owner);
});

for (const [title, links] of Object.entries({
  circle: [
    { ...hardlink, path: 'x', target: 'y' },
    { ...hardlink, path: 'y', target: 'x' },
  ],
  nothing: [{ ...hardlink, path: 'x', target: 'y' }],
  'a folder': [
    { ...dir, path: 'y' },
    { ...hardlink, path: 'x', target: 'y' },
  ],
} as Record<string, Entry[]>)) {
  test(`hard links to ${title} are refused`, (t) => {
    t.like(
      t.throws(() => arrangeEntries(links)),
      { code: 'bad-image' },
    );
  });
}
