import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { openDataSeed } from '../../../daemon/images/data-seed.ts';
import type { Entry } from '../../../daemon/images/entry.ts';
import { defaultLimits, type Limits } from '../../../daemon/images/limits.ts';
import { settleOn } from '../../../daemon/images/settle.ts';
import { tarTree } from '../../../daemon/images/tar-reader.ts';
import type { Tree } from '../../../daemon/images/tree.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { builtPax, builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';

function open(t: ExecutionContext, seed: Buffer, limits: Partial<Limits> = {}): Promise<Tree> {
  const spoolFd = openSync(join(temporaryFolder(t), 'spool'), 'wx+');
  t.teardown(() => closeSync(spoolFd));
  return openDataSeed(bufferSource(seed), { limits: { ...defaultLimits, ...limits }, spoolFd });
}

test('data comes with its owners, modes, times and user attributes', async (t) => {
  const seed = builtTar(
    { name: 'home/user/', type: '5', mode: 0o2700, uid: 1000, gid: 1000 },
    builtPax([['SCHILY.xattr.user.note', 'x']]),
    { name: 'home/user/letter', data: 'Dear', uid: 1000, gid: 1000, mtime: 5 },
    { name: 'home/user/link', type: '2', linkName: '/etc/hostname' },
  );
  const tree = await open(t, gzipSync(seed));
  t.deepEqual(
    tree.entries.map(({ path, mode, uid, mtime, xattrs }) => [
      path,
      mode,
      uid,
      mtime,
      xattrs.length,
    ]),
    [
      ['', 0o755, 0, 0, 0],
      ['home', 0o755, 0, 0, 0],
      ['home/user', 0o2700, 1000, 0, 0],
      ['home/user/letter', 0o644, 1000, 5, 1],
      ['home/user/link', 0o777, 0, 0, 0],
    ],
  );
  t.deepEqual((await open(t, gzipSync(builtTar()))).entries.length, 1);
});

const refused: [string, Buffer, RegExp, string][] = [
  ['no gzip', builtTar({ name: 'x' }), /gzip data is damaged/, 'bad-archive'],
  ['an empty member', Buffer.alloc(0), /empty/, 'bad-archive'],
  ['a cut gzip', gzipSync(builtTar({ name: 'x' })).subarray(0, -5), /cut off/, 'bad-archive'],
  ['no tar inside', gzipSync(Buffer.alloc(2000, 'x')), /checksum/, 'bad-archive'],
  ['a path that climbs', gzipSync(builtTar({ name: '../etc/passwd' })), /climbs/, 'bad-archive'],
  [
    'a device',
    gzipSync(builtTar({ name: 'sda', type: '4', major: 8 })),
    /is a device/,
    'bad-persona',
  ],
  [
    'a deletion mark',
    gzipSync(builtTar({ name: 'gone', type: '3' })),
    /is a device/,
    'bad-persona',
  ],
  ['a fifo', gzipSync(builtTar({ name: 'pipe', type: '6' })), /is a fifo/, 'bad-persona'],
  [
    'a suid program',
    gzipSync(builtTar({ name: 'su', mode: 0o4755 })),
    /suid or sgid/,
    'bad-persona',
  ],
  [
    'a capability',
    gzipSync(builtTar(builtPax([['SCHILY.xattr.security.capability', 'x']]), { name: 'p' })),
    /security.capability/,
    'bad-persona',
  ],
  [
    'an opaque folder',
    gzipSync(
      builtTar(builtPax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]), { name: 'd', type: '5' }),
    ),
    /trusted.overlay.opaque/,
    'bad-persona',
  ],
];
for (const [title, seed, message, code] of refused) {
  test(`refused: ${title}`, async (t) => {
    const error = await t.throwsAsync(open(t, seed), { instanceOf: PersonaError });
    t.regex(error.message, message);
    t.is(error.code, code as typeof error.code);
  });
}

test('a bomb is refused while it unpacks', async (t) => {
  const seed = gzipSync(builtTar({ name: 'zeros', data: Buffer.alloc(30_000_000) }));
  await t.throwsAsync(open(t, seed, { dataBytes: 1_000_000 }), { code: 'limit-exceeded' });
});

// -- settling on the tree below
const below = tarTree(
  bufferSource(
    builtTar(
      { name: './', type: '5', mode: 0o755, uid: 3 },
      { name: 'root/', type: '5', mode: 0o700, uid: 9 },
      { name: 'root/file', data: 'old' },
      { name: 'lib', type: '2', linkName: 'usr/lib' },
      builtPax([
        ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
        ['SCHILY.xattr.user.a', 'b'],
      ]),
      { name: 'opaque/', type: '5', mode: 0o711 },
    ),
  ),
  defaultLimits,
);
const byPath = new Map(below.entries.map((entry) => [entry.path, entry]));
const settle = (tar: Buffer) =>
  settleOn(
    tarTree(bufferSource(tar), defaultLimits),
    (path) => byPath.get(path),
    'data_seed.tar.gz',
  );
const at = (tree: Tree, path: string): Entry => tree.entries.find((one) => one.path === path)!;

test('folders that are there keep what they are; new ones bring what they bring', async (t) => {
  const tree = settle(
    builtTar(
      { name: './', type: '5', mode: 0o700, uid: 77 },
      { name: 'root/file', data: 'new' },
      { name: 'opaque/x', data: 'x' },
      { name: 'srv/', type: '5', mode: 0o750 },
    ),
  );
  t.like(at(tree, ''), { mode: 0o755, uid: 3 });
  t.like(at(tree, 'root'), { mode: 0o700, uid: 9 });
  t.like(at(tree, 'srv'), { mode: 0o750 });
  t.deepEqual(at(tree, 'opaque').xattrs, [['user.a', 'b']]);
  const pieces: string[] = [];
  for await (const piece of tree.read(at(tree, 'root/file'))) pieces.push(piece.toString());
  t.is(pieces.join(''), 'new');
});

test('what would hide a link, or replace a folder, is refused with its path', (t) => {
  t.throws(() => settle(builtTar({ name: 'lib/x' })), { message: /"lib" is a symlink/ });
  t.throws(() => settle(builtTar({ name: 'root/file/x' })), { message: /"root\/file" is a file/ });
  t.throws(() => settle(builtTar({ name: 'root', data: 'x' })), {
    message: /would replace a folder/,
  });
});
