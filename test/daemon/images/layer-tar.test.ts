import test from 'ava';
import { applyDiff } from '../../../daemon/images/apply.ts';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { layerTarTree } from '../../../daemon/images/layer-tar.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { tarTree } from '../../../daemon/images/tar-reader.ts';
import type { Tree } from '../../../daemon/images/tree.ts';
import { builtPax, builtTar } from '../../support/tar-builder.ts';

const layer = (tar: Buffer): Tree => layerTarTree(bufferSource(tar), defaultLimits);

const shown = (tree: Tree) =>
  tree.entries
    .filter(({ path }) => path !== '')
    .map(({ path, type, rdev, xattrs }) => {
      const mark = rdev?.join() === '0,0' ? ' deleted' : xattrs.length > 0 ? ' opaque' : '';
      return `${path} ${type}${mark}`;
    });

test('deletions by name become the marks of overlayfs', (t) => {
  const tree = layer(
    builtTar(
      { name: 'etc/.wh.gone' },
      { name: 'etc/kept', data: 'k' },
      { name: 'opt/.wh..wh..opq' },
      { name: 'opt/.wh.unneeded' },
      { name: 'opt/new', data: 'n' },
      { name: '.wh..wh.aufs' },
      { name: 'again/file', data: 'f' },
      { name: '.wh.again' },
      { name: 'twice', data: 't' },
      { name: '.wh.twice' },
      { name: 'only/.wh..wh..opq' },
      builtPax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]),
      { name: 'marked/', type: '5', mode: 0o755 },
      { name: 'device', type: '3' },
    ),
  );
  t.deepEqual(shown(tree), [
    'again dir opaque',
    'again/file file',
    'device char deleted',
    'etc dir',
    'etc/gone char deleted',
    'etc/kept file',
    'marked dir opaque',
    'only dir opaque',
    'opt dir opaque',
    'opt/new file',
    'twice file',
  ]);
});

test('a base with a layer on it shows what the layer says', (t) => {
  const base = tarTree(
    bufferSource(builtTar({ name: 'etc/gone' }, { name: 'etc/stays' }, { name: 'opt/old' })),
    defaultLimits,
  );
  const upper = layer(
    builtTar({ name: 'etc/.wh.gone' }, { name: 'opt/.wh..wh..opq' }, { name: 'opt/new' }),
  );
  const paths = applyDiff(base, upper).entries.map(({ path }) => path);
  t.deepEqual(paths, ['', 'etc', 'etc/stays', 'opt', 'opt/new']);
});

test('a deletion of nothing is refused', (t) => {
  t.throws(() => layer(builtTar({ name: 'etc/.wh.' })), { code: 'bad-archive' });
  t.throws(() => layer(builtTar({ name: 'etc/.wh...' })), { code: 'bad-archive' });
});
