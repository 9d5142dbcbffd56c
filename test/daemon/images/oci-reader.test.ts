import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { defaultLimits, type Limits } from '../../../daemon/images/limits.ts';
import type { ImageChoice } from '../../../daemon/images/oci-image.ts';
import { isContainerImage, ociTree } from '../../../daemon/images/oci-reader.ts';
import { spooledTree } from '../../../daemon/images/spool.ts';
import { tarTree } from '../../../daemon/images/tar-reader.ts';
import { itemsOf, type Tree } from '../../../daemon/images/tree.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { when } from '../../support/needs.ts';
import {
  addBlob,
  builtDockerArchive,
  builtLayout,
  type LayoutFiles,
  layoutTar,
} from '../../support/oci-builder.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import { builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { differences, treeFacts, treeOfImage } from '../../support/tree-facts.ts';

function spoolFile(t: ExecutionContext): number {
  const fd = openSync(join(temporaryFolder(t), 'spool'), 'wx+');
  t.teardown(() => closeSync(fd));
  return fd;
}

async function open(
  t: ExecutionContext,
  files: LayoutFiles,
  choice: Partial<ImageChoice> = {},
  limits: Partial<Limits> = {},
): Promise<Tree> {
  const layout = tarTree(bufferSource(layoutTar(files)), defaultLimits);
  t.true(isContainerImage(layout));
  const options = { limits: { ...defaultLimits, ...limits }, spoolFd: spoolFile(t) };
  return ociTree(layout, options, { arch: 'x64', ...choice });
}

async function texts(tree: Tree): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const entry of tree.entries) {
    if (entry.type !== 'file') continue;
    const pieces: Buffer[] = [];
    for await (const piece of tree.read(entry)) pieces.push(piece);
    all[entry.path] = Buffer.concat(pieces).toString();
  }
  return all;
}

const base = builtTar(
  { name: 'etc/', type: '5', mode: 0o755 },
  { name: 'etc/a', data: 'a1' },
  { name: 'etc/b', data: 'b1' },
  { name: 'opt/old/x', data: 'x1' },
  { name: 'opt/old/y', data: 'y1' },
  { name: 'usr/lib/l', data: 'l1' },
  { name: 'lib', type: '2', linkName: 'usr/lib' },
  { name: 'var', type: '2', linkName: '/usr' },
  { name: 'folder/in', data: 'in' },
);

test('layers in order: whiteouts, opaque folders, replaced folders, links followed inside', async (t) => {
  const second = builtTar(
    // The whiteouts stand after what the same layer adds: they only hide the layers below.
    { name: 'opt/old/new', data: 'new2' },
    { name: 'opt/old/.wh..wh..opq' },
    { name: 'etc/b', data: 'b2' },
    { name: 'etc/.wh.b' },
    { name: 'etc/.wh.a' },
    { name: 'etc/.wh.never-there' },
    { name: '.wh..wh.plnk', type: '5' },
    { name: 'lib/m', data: 'm2' },
    { name: 'var/lib/n', data: 'n2' },
    { name: 'folder', data: 'now a file' },
  );
  const third = builtTar(
    { name: 'etc/hard', type: '1', linkName: 'etc/b' },
    { name: 'folder/', type: '5' },
    { name: 'folder/again', data: 'again' },
  );
  const files = builtLayout({ layers: [base, second, third], packing: ['gzip', 'zstd', 'none'] });
  const tree = await open(t, files);
  t.deepEqual(await texts(tree), {
    'etc/b': 'b2',
    'folder/again': 'again',
    'opt/old/new': 'new2',
    'usr/lib/l': 'l1',
    'usr/lib/m': 'm2',
    'usr/lib/n': 'n2',
  });
  const kinds = Object.fromEntries(tree.entries.map(({ path, type }) => [path, type]));
  t.like(kinds, { lib: 'symlink', var: 'symlink', 'etc/hard': 'hardlink', folder: 'dir' });
});

test('a docker archive, also with layers that are links to each other', async (t) => {
  const files = builtDockerArchive([base, builtTar({ name: 'etc/.wh.a' })]);
  t.is((await texts(await open(t, files)))['etc/b'], 'b1');
  const [name] = [...files.keys()].filter((path) => path.endsWith('layer.tar'));
  const moved = files.get(name!)!;
  files.delete(name!);
  files.set('elsewhere/layer.tar', moved);
  const archive = layoutTar(files, { name: name!, type: '2', linkName: '../elsewhere/layer.tar' });
  const layout = tarTree(bufferSource(archive), defaultLimits);
  const tree = await ociTree(
    layout,
    { limits: defaultLimits, spoolFd: spoolFile(t) },
    { arch: 'x64' },
  );
  t.false('etc/a' in (await texts(tree)));
});

test('the image for this machine is taken; notes and other machines are passed over', async (t) => {
  const other = builtTar({ name: 'other', data: 'other' });
  const files = builtLayout({ layers: [base] }, { layers: [other], architecture: 'arm64' });
  const index = JSON.parse(files.get('index.json')!.toString());
  index.manifests.push({
    ...addBlob(files, Buffer.from('{}'), 'application/vnd.oci.image.manifest.v1+json'),
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
  });
  const nested = addBlob(
    files,
    Buffer.from(JSON.stringify(index)),
    'application/vnd.oci.image.index.v1+json',
  );
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [nested] })));
  t.true('etc/a' in (await texts(await open(t, files))));
  t.true('other' in (await texts(await open(t, files, { arch: 'arm64' }))));
});

test('several images are ambiguous until one is named', async (t) => {
  const files = builtLayout(
    { layers: [base], name: 'one' },
    { layers: [builtTar({ name: 'b' })], name: 'two' },
  );
  const error = await t.throwsAsync(open(t, files), { instanceOf: PersonaError });
  t.regex(error.message, /several images: one, two/);
  t.true('b' in (await texts(await open(t, files, { reference: 'two' }))));
  await t.throwsAsync(open(t, files, { reference: 'three' }), {
    message: /no image for .*"three"/,
  });
});

const corrupt = (
  change: (files: LayoutFiles, index: { manifests: Record<string, unknown>[] }) => void,
) => {
  const files = builtLayout({ layers: [base], packing: ['gzip'] });
  const index = JSON.parse(files.get('index.json')!.toString());
  change(files, index);
  if (files.has('index.json')) files.set('index.json', Buffer.from(JSON.stringify(index)));
  return files;
};
const largest = (files: LayoutFiles) => [...files].sort((a, b) => b[1].length - a[1].length)[0]!;

const refused: [string, LayoutFiles, RegExp, string][] = [
  [
    'no image for this machine',
    builtLayout({ layers: [base], architecture: 's390x' }),
    /no image for linux\/amd64, only: linux\/s390x/,
    'bad-archive',
  ],
  [
    'a layer with a flipped bit',
    corrupt((files) => {
      const [path, bytes] = largest(files);
      const copy = Buffer.from(bytes);
      copy[4] = (copy[4] ?? 0) ^ 1;
      files.set(path, copy);
    }),
    /expected sha256/,
    'digest-mismatch',
  ],
  [
    'a missing layer',
    corrupt((files) => files.delete(largest(files)[0])),
    /lacks its file/,
    'bad-archive',
  ],
  [
    'a digest that leads elsewhere',
    corrupt((_, index) => {
      index.manifests[0]!.digest = 'sha256:../../etc/passwd';
    }),
    /wrong digest/,
    'bad-archive',
  ],
  [
    'a manifest of another size',
    corrupt((_, index) => {
      index.manifests[0]!.size = 5;
    }),
    /a blob/,
    'digest-mismatch',
  ],
  [
    'an index that is no JSON',
    corrupt((_, index) => {
      (index as { toJSON?: unknown }).toJSON = () => 'x';
    }),
    /not a JSON object/,
    'bad-archive',
  ],
  [
    'no manifests',
    corrupt((_, index) => {
      index.manifests = [];
    }),
    /no image for/,
    'bad-archive',
  ],
  [
    'a layer that climbs',
    builtLayout({ layers: [builtTar({ name: '../x' })] }),
    /climbs out/,
    'bad-archive',
  ],
  [
    'a whiteout of ..',
    builtLayout({ layers: [builtTar({ name: '.wh...' })] }),
    /whiteout of nothing/,
    'bad-archive',
  ],
  [
    'links in a circle',
    builtLayout({
      layers: [
        builtTar(
          { name: 'a', type: '2', linkName: 'b' },
          { name: 'b', type: '2', linkName: 'a' },
          { name: 'a/x' },
        ),
      ],
    }),
    /circle/,
    'bad-archive',
  ],
  [
    'a layer that is no tar',
    builtLayout({ layers: [Buffer.alloc(2048, 'x')] }),
    /checksum/,
    'bad-archive',
  ],
];
for (const [title, files, message, code] of refused) {
  test(`refused: ${title}`, async (t) => {
    const error = await t.throwsAsync(open(t, files), { instanceOf: PersonaError });
    t.regex(error.message, message);
    t.is(error.code, code as typeof error.code);
  });
}

test('a layer that unpacks to more than the limit is refused while it unpacks', async (t) => {
  const bomb = builtTar({ name: 'zeros', data: Buffer.alloc(20_000_000) });
  const files = builtLayout({ layers: [bomb], packing: ['gzip'] });
  await t.throwsAsync(open(t, files, {}, { dataBytes: 1_000_000 }), { code: 'limit-exceeded' });
});

when(test, { root: true, tools: ['tar', 'setfacl', 'setfattr', 'setcap'] })(
  'a layout in a folder gives the tree that was packed into its layer, with everything',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree'));
    fillOddTree(join(folder, 'tree'));
    const layer = join(folder, 'layer.tar');
    execFileSync('tar', ['--xattrs', '--acls', '-cf', layer, '-C', join(folder, 'tree'), '.']);
    const files = builtLayout({
      layers: [execFileSync('cat', [layer], { maxBuffer: 1e9 })],
      packing: ['zstd'],
    });
    for (const [path, bytes] of files) {
      mkdirSync(dirname(join(folder, 'layout', path)), { recursive: true });
      writeFileSync(join(folder, 'layout', path), bytes);
    }
    const options = { limits: defaultLimits, spoolFd: spoolFile(t) };
    const walked = async function* () {
      yield* itemsOf(treeOfFolder(join(folder, 'layout')));
    };
    const layout = await spooledTree(walked(), options);
    const seen = await treeFacts(await ociTree(layout, options, { arch: 'x64' }));
    const expected = await treeFacts(treeOfFolder(join(folder, 'tree')));
    t.deepEqual(differences(seen, expected), {});
    // And the same as one packed archive, told by its content.
    writeFileSync(join(folder, 'image.tar'), layoutTar(files));
    execFileSync('gzip', [join(folder, 'image.tar')]);
    const packed = await treeFacts(await treeOfImage(t, folder, join(folder, 'image.tar.gz')));
    t.deepEqual(differences(packed, expected), {});
  },
);
