import { spawnSync } from 'node:child_process';
import { inflateSync, zstdDecompressSync } from 'node:zlib';
import { PersonaError } from '../../ipc/errors.ts';
import { badImage } from './faults.ts';

/** Unpacks one block; never gives more than `most` bytes. Throws PersonaError. */
export type Codec = (packed: Buffer, most: number) => Buffer;

/** A block of xz may take a slow machine this long, in milliseconds. */
const toolTimeoutMs = 60_000;

const codecs: Record<number, { name: string; codec?: Codec }> = {
  1: { name: 'gzip', codec: (packed, most) => inflateSync(packed, { maxOutputLength: most }) },
  2: { name: 'lzma' },
  3: { name: 'lzo' },
  4: { name: 'xz', codec: xzBlock },
  5: { name: 'lz4', codec: lz4Block },
  6: {
    name: 'zstd',
    codec: (packed, most) => zstdDecompressSync(packed, { maxOutputLength: most }),
  },
};

/**
 * The codec of a squashfs by the number in its superblock.
 * @throws PersonaError 'not-supported' for lzma and lzo, 'bad-image' for an unknown number.
 */
export function codecOf(id: number): Codec {
  const known = codecs[id];
  if (known === undefined) throw badImage('the squashfs is packed in an unknown way');
  const { name, codec } = known;
  if (codec === undefined) {
    const error = new PersonaError('not-supported', {
      what: `reading squashfs packed with ${name}`,
    });
    error.hint = 'Unpack it with unsquashfs and import the folder, or pack it again with zstd.';
    throw error;
  }
  return (packed, most) => {
    try {
      return codec(packed, most);
    } catch (error) {
      if (error instanceof PersonaError) throw error;
      throw badImage(`the squashfs has a damaged block (${(error as Error).message})`);
    }
  };
}

/** Node has no xz: the tool of that name unpacks one block (a whole .xz stream) at a time. */
function xzBlock(packed: Buffer, most: number): Buffer {
  const { error, status, stdout } = spawnSync('xz', ['-dc', '--memlimit-decompress=512MiB'], {
    input: packed,
    maxBuffer: most,
    timeout: toolTimeoutMs,
    env: {},
    // No stream is ignored: the confined child has no /dev/null to give to the tool.
    stdio: 'pipe',
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    throw new PersonaError('tool-missing', { tool: 'xz', fix: 'apt install xz-utils' });
  }
  if (error !== undefined || status !== 0) throw badImage('the squashfs has a damaged xz block');
  return stdout;
}

/** The lz4 block format: literals, then a match of at least 4 bytes at a distance of up to 64 KiB. */
function lz4Block(packed: Buffer, most: number): Buffer {
  const out = Buffer.allocUnsafe(most);
  let from = 0;
  let to = 0;
  const byte = (): number => {
    const value = packed[from++];
    if (value === undefined) throw badImage('the squashfs has a cut lz4 block');
    return value;
  };
  const length = (nibble: number): number => {
    let sum = nibble;
    for (let more = nibble === 15; more; ) {
      const next = byte();
      sum += next;
      more = next === 255;
    }
    return sum;
  };
  while (from < packed.length) {
    const token = byte();
    const literals = length(token >> 4);
    if (from + literals > packed.length || to + literals > most) {
      throw badImage('the squashfs has a damaged lz4 block');
    }
    packed.copy(out, to, from, from + literals);
    from += literals;
    to += literals;
    if (from === packed.length) break;
    const distance = byte() | (byte() << 8);
    const match = length(token & 15) + 4;
    if (distance === 0 || distance > to || to + match > most) {
      throw badImage('the squashfs has a damaged lz4 block');
    }
    // Byte by byte: a match may overlap what it writes.
    for (let i = 0; i < match; i++, to++) out[to] = out[to - distance] as number;
  }
  return out.subarray(0, to);
}
