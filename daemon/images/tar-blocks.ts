import { tarBlockBytes } from './tar-headers.ts';

/** What one header block says; everything else is 0. */
export interface TarBlock {
  /** Byte string, at most 100 bytes. */
  name: string;
  type: string;
  mode: number;
  size: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  /** Byte string, at most 100 bytes. */
  linkName?: string;
  major?: number;
  minor?: number;
}

/** Largest numbers of the octal fields of 8 and 12 bytes. */
export const tarNumberMax = { short: 0o7777777, long: 0o77777777777 } as const;

/** Bytes of the name fields. */
export const tarNameBytesMax = 100;

/**
 * One ustar header block. What does not fit its field is cut to 0 (numbers) or shortened (names):
 * the pax header before it has to say it then.
 */
export function formatTarHeader(header: TarBlock): Buffer {
  const block = Buffer.alloc(tarBlockBytes);
  block.write(header.name.slice(0, tarNameBytesMax), 0, 'latin1');
  octal(block, 100, 8, header.mode);
  octal(block, 108, 8, header.uid ?? 0);
  octal(block, 116, 8, header.gid ?? 0);
  octal(block, 124, 12, header.size);
  octal(block, 136, 12, header.mtime ?? 0);
  block.write(header.type, 156, 'latin1');
  block.write((header.linkName ?? '').slice(0, tarNameBytesMax), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(block, 329, 8, header.major ?? 0);
  octal(block, 337, 8, header.minor ?? 0);
  block.write('        ', 148, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  const most = length === 8 ? tarNumberMax.short : tarNumberMax.long;
  const fits = value >= 0 && value <= most ? value : 0;
  block.write(fits.toString(8).padStart(length - 1, '0'), at, 'latin1');
}
