/** One member of a tar made by hand: every field can be made wrong. */
export interface BuiltMember {
  name: string;
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  linkName?: string;
  data?: Buffer | string;
  /** What the header says, if it shall differ from the length of the data. */
  size?: number;
  magic?: string;
  prefix?: string;
  major?: number;
  minor?: number;
  /** Raw bytes put into the header before its checksum is made, by position. */
  raw?: Record<number, Buffer>;
  /** A checksum that does not fit. */
  badChecksum?: boolean;
}

/** Header and padded data of a member. */
export function built(member: BuiltMember): Buffer {
  const data = Buffer.from(member.data ?? '');
  const block = Buffer.alloc(512);
  block.write(member.name, 0, 100, 'latin1');
  const octal = (at: number, length: number, value: number) =>
    block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  octal(100, 8, member.mode ?? 0o644);
  octal(108, 8, member.uid ?? 0);
  octal(116, 8, member.gid ?? 0);
  octal(124, 12, member.size ?? data.length);
  octal(136, 12, member.mtime ?? 0);
  block.write(member.type ?? '0', 156, 'latin1');
  block.write(member.linkName ?? '', 157, 100, 'latin1');
  block.write(member.magic ?? 'ustar\x0000', 257, 'latin1');
  octal(329, 8, member.major ?? 0);
  octal(337, 8, member.minor ?? 0);
  block.write(member.prefix ?? '', 345, 155, 'latin1');
  for (const [at, bytes] of Object.entries(member.raw ?? {})) bytes.copy(block, Number(at));
  block.write('        ', 148, 'latin1');
  let sum = member.badChecksum ? 1 : 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([block, padded(data)]);
}

/** A pax header with these records. */
export function builtPax(records: [string, string][], type = 'x'): Buffer {
  let body = '';
  for (const [key, value] of records) {
    const rest = key.length + value.length + 3;
    let length = rest + 1;
    while (String(length).length + rest !== length) length += 1;
    body += `${length} ${key}=${value}\n`;
  }
  return built({ name: 'PaxHeaders/x', type, data: Buffer.from(body, 'latin1') });
}

/** A number in the binary form of GNU tar, for `raw`. */
export function base256(value: bigint, length = 12): Buffer {
  const bytes = Buffer.alloc(length);
  let rest = BigInt.asUintN(8 * length - 8, value);
  for (let at = length - 1; at > 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  bytes[0] = value < 0n ? 0xff : 0x80;
  return bytes;
}

/** The members (or raw pieces) with the end mark. */
export function builtTar(...pieces: (BuiltMember | Buffer)[]): Buffer {
  const parts = pieces.map((piece) => (Buffer.isBuffer(piece) ? piece : built(piece)));
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}
