import type { ByteSource } from './byte-source.ts';
import { hasTarChecksum, isZeroBlock, tarBlockBytes } from './tar-headers.ts';

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

/** What begins with its magic number. */
const atStart: readonly Magic[] = [
  magic('squashfs', 0, '68737173'),
  magic('xfs', 0, '58465342'),
  magic('gzip', 0, '1f8b08'),
  magic('zstd', 0, '28b52ffd'),
  magic('xz', 0, 'fd377a585a00'),
  magic('bzip2', 0, '425a68'),
  magic('lz4', 0, '04224d18'),
  magic('zip', 0, '504b0304'),
  magic('qcow2', 0, '514649fb'),
];

/**
 * What has it further in, where content of other formats may look the same by chance: asked for
 * last. File systems go first, their boot area may hold a partition table's mark.
 */
const further: readonly Magic[] = [
  magic('erofs', 1024, 'e2e1f5e0'),
  magic('btrfs', 65536 + 64, '5f42485266535f4d'),
  magic('ext4', 1024 + 56, '53ef'),
  magic('gpt', 512, '4546492050415254'),
  magic('gpt', 4096, '4546492050415254'),
  magic('tar', 257, '7573746172'),
  magic('mbr', 510, '55aa'),
];

/** Formats that only wrap another one. */
export const compressions: ReadonlySet<ImageFormat> = new Set(['gzip', 'zstd']);

/**
 * The format of a file by its magic numbers, or undefined when it is none that is known. A tar is
 * recognised by the checksum of its first header, also an old one without a magic.
 */
export function detectFormat(source: ByteSource): ImageFormat | undefined {
  const found = (list: readonly Magic[]) =>
    list.find(({ offset, bytes }) => has(source, offset, bytes))?.format;
  const first = found(atStart) ?? (isSkippableZstd(source) ? 'zstd' : undefined);
  return first ?? (isTar(source) ? 'tar' : found(further));
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

function isTar(source: ByteSource): boolean {
  if (source.size < tarBlockBytes) return false;
  const block = source.read(0, tarBlockBytes);
  if (!isZeroBlock(block)) return hasTarChecksum(block);
  // An empty archive: nothing but its end mark, padded to what tar writes at once.
  return source.size <= 20 * tarBlockBytes && allZero(source);
}

function allZero(source: ByteSource): boolean {
  return source.read(0, source.size).every((byte) => byte === 0);
}
