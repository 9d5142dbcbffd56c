import { gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { detectFormat } from '../../../daemon/images/format-detect.ts';
import { builtTar } from '../../support/tar-builder.ts';

const at = (offset: number, hex: string, size = 8192): Buffer => {
  const bytes = Buffer.alloc(size);
  Buffer.from(hex, 'hex').copy(bytes, offset);
  return bytes;
};

const known: [string, Buffer, string | undefined][] = [
  ['gzip', gzipSync('x'), 'gzip'],
  ['zstd', zstdCompressSync(Buffer.from('x')), 'zstd'],
  [
    'zstd that begins with a frame to skip',
    Buffer.from('5f2a4d18040000000000000028b52ffd', 'hex'),
    'zstd',
  ],
  ['xz', Buffer.from('fd377a585a000004', 'hex'), 'xz'],
  ['bzip2', Buffer.from('BZh9'), 'bzip2'],
  ['zip', Buffer.from('PK\x03\x04'), 'zip'],
  ['qcow2', Buffer.from('QFI\xfb', 'latin1'), 'qcow2'],
  ['squashfs', Buffer.from('hsqs'), 'squashfs'],
  ['erofs', at(1024, 'e2e1f5e0'), 'erofs'],
  ['ext4', at(1080, '53ef'), 'ext4'],
  ['ext4 with a boot sector', Buffer.concat([at(510, '55aa', 1024), at(56, '53ef')]), 'ext4'],
  ['GPT', Buffer.concat([at(510, '55aa', 512), Buffer.from('EFI PART'), Buffer.alloc(600)]), 'gpt'],
  ['MBR', at(510, '55aa', 512), 'mbr'],
  ['tar', builtTar({ name: 'x' }), 'tar'],
  ['tar without a magic', builtTar({ name: 'x', magic: '' }), 'tar'],
  ['tar with a broken checksum', builtTar({ name: 'x', badChecksum: true }), 'tar'],
  ['empty tar', Buffer.alloc(10240), 'tar'],
  ['a disk of zeros', Buffer.alloc(20480), undefined],
  ['nothing', Buffer.alloc(0), undefined],
  ['text', Buffer.from('hello world'.repeat(500)), undefined],
];
for (const [title, bytes, format] of known) {
  test(`recognised: ${title}`, (t) => t.is(detectFormat(bufferSource(bytes)), format as never));
}

test('content that looks like another format by chance does not deceive', (t) => {
  for (const [offset, hex] of [
    [1080, '53ef'],
    [1024, 'e2e1f5e0'],
    [4096, '4546492050415254'],
  ] as const) {
    const content = at(offset - 512, hex);
    t.is(detectFormat(bufferSource(builtTar({ name: 'x', data: content }))), 'tar');
    const packed = Buffer.concat([gzipSync('x'), at(0, '00')]);
    Buffer.from(hex, 'hex').copy(packed, offset);
    t.is(detectFormat(bufferSource(packed)), 'gzip');
  }
});
