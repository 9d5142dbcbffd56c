import { PersonaError } from '../../ipc/errors.ts';
import type { ByteSource } from './byte-source.ts';
import { compatChecksum, crc32c, superBytes, superMagic, superOffset } from './erofs-format.ts';
import { badImage } from './faults.ts';

const windowBytes = 64 * 1024;
/** Windows kept: inodes, folders and maps lie apart, so one window would be read over and over. */
const windowsMax = 128;

/** Features whose images can still be read, as long as no file is itself compressed. */
const knownIncompat = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20;

/** An erofs image with its superblock checked; every access is checked against its end. */
export class ErofsImage {
  readonly blockBytes: number;
  readonly rootNid: number;
  readonly metaStart: number;
  readonly xattrStart: number;
  readonly buildTime: number;
  readonly buildTimeNs: number;
  /** Length of the image in bytes. */
  readonly bytes: number;
  private readonly source: ByteSource;
  private readonly windows = new Map<number, Buffer>();

  /** Reads the superblock. Throws PersonaError 'bad-image' or 'not-supported'. */
  constructor(source: ByteSource) {
    this.source = source;
    if (source.size < superOffset + superBytes) throw badImage('it is too short for erofs');
    const sb = source.read(superOffset, superBytes);
    if (sb.readUInt32LE(0) !== superMagic) throw badImage('it is no erofs image');
    const bits = sb.readUInt8(12);
    if (bits < 9 || bits > 16) throw badImage(`blocks of 2^${bits} bytes do not exist in erofs`);
    this.blockBytes = 2 ** bits;
    checkFeatures(sb);
    this.bytes = sb.readUInt32LE(36) * this.blockBytes;
    if (this.bytes > source.size) throw badImage('it is cut off: its end is missing');
    if (this.bytes < superOffset + superBytes) throw badImage('its length is wrong');
    if ((sb.readUInt32LE(8) & compatChecksum) !== 0) this.checkSum(sb.readUInt32LE(4));
    this.rootNid = sb.readUInt16LE(14);
    this.metaStart = sb.readUInt32LE(40) * this.blockBytes;
    this.xattrStart = sb.readUInt32LE(44) * this.blockBytes;
    this.buildTime = Number(sb.readBigInt64LE(24));
    this.buildTimeNs = sb.readUInt32LE(32);
  }

  /** True when `length` bytes at `offset` lie inside the image. */
  holds(offset: number, length: number): boolean {
    return offset >= 0 && length >= 0 && offset + length <= this.bytes;
  }

  /**
   * `length` bytes at `offset`, through a cache when they are few. Not to be written.
   * @throws PersonaError 'bad-image' beyond the end.
   */
  read(offset: number, length: number): Buffer {
    if (!this.holds(offset, length)) throw badImage('it points beyond its own end');
    if (length > windowBytes) return this.source.read(offset, length);
    const first = Math.floor(offset / windowBytes);
    const start = offset - first * windowBytes;
    if (start + length <= windowBytes) return this.window(first).subarray(start, start + length);
    const parts = [this.window(first).subarray(start), this.window(first + 1)];
    return Buffer.concat(parts).subarray(0, length);
  }

  /** As `read`, past the cache: for content, which is read once. */
  readData(offset: number, length: number): Buffer {
    if (!this.holds(offset, length)) throw badImage('it points beyond its own end');
    return this.source.read(offset, length);
  }

  private window(index: number): Buffer {
    const known = this.windows.get(index);
    if (known !== undefined) return known;
    const start = index * windowBytes;
    const bytes = this.source.read(start, Math.min(windowBytes, this.bytes - start));
    if (this.windows.size >= windowsMax) {
      for (const oldest of this.windows.keys()) {
        this.windows.delete(oldest);
        break;
      }
    }
    this.windows.set(index, bytes);
    return bytes;
  }

  private checkSum(expected: number): void {
    const end = this.blockBytes > superOffset ? this.blockBytes : superOffset + this.blockBytes;
    const bytes = Buffer.from(this.read(superOffset, end - superOffset));
    bytes.writeUInt32LE(0, 4);
    if (crc32c(bytes) !== expected) throw badImage('the checksum of its superblock is wrong');
  }
}

function checkFeatures(sb: Buffer): void {
  const unknown = sb.readUInt32LE(80) & ~knownIncompat;
  if (unknown !== 0 || sb.readUInt16LE(86) > 0 || sb.readUInt8(90) > 0) {
    throw unsupported(`erofs features 0x${(unknown >>> 0).toString(16)}, or several devices`);
  }
}

/** What cannot be read here, with the way out. */
export function unsupported(what: string): PersonaError {
  return new PersonaError('not-supported', {
    what: `reading an erofs image with ${what}`,
    reason: 'give it as a tar or an OCI layer, or make it anew without compression',
  });
}
