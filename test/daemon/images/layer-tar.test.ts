import test from 'ava';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { isOpaque, isWhiteout } from '../../../daemon/images/entry.ts';
import { layerTarTree } from '../../../daemon/images/layer-tar.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { type BuiltMember, builtTar } from '../../support/tar-builder.ts';

const layer = (...members: BuiltMember[]) =>
  layerTarTree(bufferSource(builtTar(...members)), defaultLimits).entries;

test('marks of container layers become marks of overlayfs', (t) => {
  const entries = layer(
    { name: 'etc/', type: '5', mode: 0o755 },
    { name: 'etc/.wh.gone' },
    { name: 'var/.wh..wh..opq' },
    { name: 'var/new', data: 'x' },
    { name: '.wh..wh.plnk' },
  );
  const found = entries.map((entry) => {
    const mark = isWhiteout(entry) ? 'hides' : isOpaque(entry) ? 'opaque' : entry.type;
    return `${mark} ${entry.path}`;
  });
  t.deepEqual(found, ['dir ', 'dir etc', 'hides etc/gone', 'opaque var', 'file var/new']);
});

test('a mark beside what the layer itself has hides only what is below', (t) => {
  const entries = layer(
    { name: 'a/.wh.file' },
    { name: 'a/file', data: 'new' },
    { name: 'a/folder/', type: '5' },
    { name: 'a/folder/inside', data: 'new' },
    { name: 'a/.wh.folder' },
  );
  t.deepEqual(
    entries.map((entry) => `${isOpaque(entry) ? 'opaque' : entry.type} ${entry.path}`),
    ['dir ', 'dir a', 'file a/file', 'opaque a/folder', 'file a/folder/inside'],
  );
});

test('marks that hide nothing or climb are refused', (t) => {
  for (const name of ['.wh.', 'a/.wh..', 'a/.wh...', '../.wh.x', 'a/../../.wh.x']) {
    t.throws(() => layer({ name }), { code: 'bad-archive' }, name);
  }
  const file = [{ name: 'a', data: 'x' }, { name: 'a/.wh.x' }];
  t.throws(() => layer(...file), { code: 'bad-archive' });
});
