import { PersonaError } from '../../ipc/errors.ts';

/** One 512-byte header block of a tar, as written (before pax and GNU extensions). */
export interface TarHeader {
  /** Byte string. */
  name: string;
  /** One character: '0' file, '1' hard link, '5' folder, 'x' pax, 'L' GNU long name, ... */
  type: string;
  mode: number;
  uid: number;
  gid: number;
  /** Bytes that follow the header. */
  size: number;
  mtime: number;
  /** Byte string. */
  linkName: string;
  major: number;
  minor: number;
  /** The whole block, for the old GNU sparse map. */
  block: Buffer;
}

/** Every tar is made of blocks of this many bytes. */
export const tarBlockBytes = 512;

/** `bytes` rounded up to whole blocks. */
export function tarPadded(bytes: number): number {
  return Math.ceil(bytes / tarBlockBytes) * tarBlockBytes;
}

/** The error of everything that is wrong in an archive. */
export function badArchive(reason: string): PersonaError {
  return new PersonaError('bad-archive', reason);
}

/** True for a block of zeros (two of them end an archive). */
export function isZeroBlock(block: Buffer): boolean {
  return block.equals(zeroBlock);
}

const zeroBlock = Buffer.alloc(tarBlockBytes);

/**
 * Reads one header block: POSIX ustar, GNU, star and the old form without a magic.
 * @throws PersonaError 'bad-archive' for a wrong checksum or a number that is none.
 */
export function parseTarHeader(block: Buffer): TarHeader {
  if (!hasTarChecksum(block)) throw badArchive('a header has a wrong checksum');
  const posix = block.toString('latin1', 257, 263) === 'ustar\0';
  const short = text(block, 0, 100);
  const prefix = posix ? text(block, 345, isStar(block) ? 131 : 155) : '';
  const type = block.toString('latin1', 156, 157);
  const device = type === '3' || type === '4';
  return {
    name: prefix === '' ? short : `${prefix}/${short}`,
    type: type === '\0' ? '0' : type,
    mode: tarNumber(block, 100, 8, 'mode') & 0o7777,
    uid: tarNumber(block, 108, 8, 'owner'),
    gid: tarNumber(block, 116, 8, 'group'),
    size: notNegative(tarNumber(block, 124, 12, 'size'), 'size'),
    mtime: tarNumber(block, 136, 12, 'time'),
    linkName: text(block, 157, 100),
    major: device ? tarNumber(block, 329, 8, 'device number') : 0,
    minor: device ? tarNumber(block, 337, 8, 'device number') : 0,
    block,
  };
}

/** star marks its own form at the very end; its prefix is shorter (times follow it). */
function isStar(block: Buffer): boolean {
  return block.toString('latin1', 508, 512) === 'tar\0';
}

/** A field of bytes up to its first NUL. */
function text(block: Buffer, at: number, length: number): string {
  const field = block.toString('latin1', at, at + length);
  const end = field.indexOf('\0');
  return end < 0 ? field : field.slice(0, end);
}

/** True when a block has the checksum of a tar header. */
export function hasTarChecksum(block: Buffer): boolean {
  const stored = /^[ \0]*([0-7]+)[ \0]*$/.exec(block.toString('latin1', 148, 156));
  if (stored === null) return false;
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < tarBlockBytes; i++) {
    // The field itself counts as eight spaces.
    const byte = i >= 148 && i < 156 ? 32 : (block[i] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const sum = Number.parseInt(stored[1] ?? '', 8);
  // Some old writers summed signed bytes.
  return sum === unsigned || sum === signed;
}

/**
 * A numeric field: octal text, or (first bit set) a big-endian two's complement number.
 * @throws PersonaError 'bad-archive' when it is neither or does not fit a double exactly.
 */
export function tarNumber(block: Buffer, at: number, length: number, what: string): number {
  const first = block[at] ?? 0;
  if (first < 0x80) {
    const digits = block
      .toString('latin1', at, at + length)
      .replace(/\0.*$/s, '')
      .trim();
    if (digits === '') return 0;
    if (!/^[0-7]+$/.test(digits)) throw badArchive(`a header has a ${what} that is not a number`);
    return exact(Number.parseInt(digits, 8), what);
  }
  if (first !== 0x80 && first !== 0xff) throw badArchive(`a header has a ${what} out of range`);
  let value = first === 0xff ? -1n : 0n;
  for (let i = at + 1; i < at + length; i++) value = (value << 8n) | BigInt(block[i] ?? 0);
  return exact(Number(value), what);
}

function exact(value: number, what: string): number {
  if (!Number.isSafeInteger(value)) throw badArchive(`a header has a ${what} out of range`);
  return value;
}

/** `value` itself. @throws PersonaError 'bad-archive' when it is below zero. */
export function notNegative(value: number, what: string): number {
  if (value < 0) throw badArchive(`a header has a negative ${what}`);
  return value;
}
