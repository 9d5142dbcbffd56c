import type { ByteSource } from './byte-source.ts';

/** What a file may turn out to be, by its first bytes. */
export type ImageFormat =
  | 'tar'
  | 'gzip'
  | 'zstd'
  | 'xz'
  | 'bzip2'
  | 'lz4'
  | 'zip'
  | 'erofs'
  | 'ext4'
  | 'squashfs'
  | 'xfs'
  | 'btrfs'
  | 'gpt'
  | 'mbr'
  | 'qcow2';

interface Magic {
  format: ImageFormat;
  offset: number;
  bytes: Buffer;
}

const magic = (format: ImageFormat, offset: number, hex: string): Magic => ({
  format,
  offset,
  bytes: Buffer.from(hex, 'hex'),
});

// File systems first: their boot area may hold anything, also a partition table's mark.
const magics: readonly Magic[] = [
  magic('erofs', 1024, 'e2e1f5e0'),
  magic('squashfs', 0, '68737173'),
  magic('xfs', 0, '58465342'),
  magic('btrfs', 65536 + 64, '5f42485266535f4d'),
  magic('ext4', 1024 + 56, '53ef'),
  magic('gzip', 0, '1f8b08'),
  magic('zstd', 0, '28b52ffd'),
  magic('xz', 0, 'fd377a585a00'),
  magic('bzip2', 0, '425a68'),
  magic('lz4', 0, '04224d18'),
  magic('zip', 0, '504b0304'),
  magic('qcow2', 0, '514649fb'),
  magic('tar', 257, '7573746172'),
  magic('gpt', 512, '4546492050415254'),
  magic('gpt', 4096, '4546492050415254'),
  magic('mbr', 510, '55aa'),
];

/** Formats that only wrap another one. */
export const compressions: ReadonlySet<ImageFormat> = new Set(['gzip', 'zstd']);

/**
 * The format of a file by its magic numbers, or undefined when it is none that is known. An old tar
 * without a magic is recognised by the checksum of its first header.
 */
export function detectFormat(source: ByteSource): ImageFormat | undefined {
  for (const { format, offset, bytes } of magics) {
    if (has(source, offset, bytes)) return format;
  }
  if (isSkippableZstd(source)) return 'zstd';
  return isOldTar(source) ? 'tar' : undefined;
}

function has(source: ByteSource, offset: number, bytes: Buffer): boolean {
  if (offset + bytes.length > source.size) return false;
  return source.read(offset, bytes.length).equals(bytes);
}

/** zstd files may begin with a frame to be skipped (0x184D2A50 to 0x184D2A5F). */
function isSkippableZstd(source: ByteSource): boolean {
  if (source.size < 4) return false;
  return (source.read(0, 4).readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50;
}

function isOldTar(source: ByteSource): boolean {
  if (source.size < 1024 || source.size % 512 !== 0) return false;
  const block = source.read(0, 512);
  // An empty archive: nothing but its end mark.
  if (block.every((byte) => byte === 0)) return source.size <= 10240 && allZero(source);
  let sum = 8 * 32;
  block.forEach((byte, index) => {
    if (index < 148 || index >= 156) sum += byte;
  });
  return Number.parseInt(block.toString('latin1', 148, 156), 8) === sum;
}

function allZero(source: ByteSource): boolean {
  return source.read(0, source.size).every((byte) => byte === 0);
}
