import { crc32 } from 'node:zlib';
import type { ByteSource } from './byte-source.ts';
import { badImage } from './faults.ts';

/** One partition of a disk image, in bytes. */
export interface Partition {
  /** As people count them, from 1. */
  number: number;
  offset: number;
  size: number;
  /** What it is for, as far as its type says. */
  role: 'root' | 'linux' | 'other';
  /** Type GUID or MBR type in hex, and the name it carries. */
  type: string;
  name: string;
}

/** Type GUIDs of root partitions by machine (Discoverable Partitions Specification). */
const rootTypes: Record<string, string> = {
  x64: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
  arm64: 'b921b045-1df0-41c3-af44-4c6f280d3fae',
};
const linuxType = '0fc63daf-8483-4772-8e79-3d69d8477de4';

const gptMagic = 'EFI PART';
const gptEntriesMax = 1024;
const mbrProtective = 0xee;
const mbrLinux = 0x83;
const mbrExtended = new Set([0x05, 0x0f, 0x85]);
const logicalMax = 128;

/**
 * Finds the one partition that holds the root tree: the one typed as root for this machine, else the
 * only Linux partition.
 * @param arch as process.arch says it.
 * @throws PersonaError 'bad-image' when the table is damaged, or none or several could be meant; the
 *   message lists what is there.
 */
export function rootPartition(disk: ByteSource, arch: string = process.arch): Partition {
  const partitions = readPartitions(disk, arch);
  for (const role of ['root', 'linux'] as const) {
    const [only, ...others] = partitions.filter((partition) => partition.role === role);
    if (only === undefined) continue;
    if (others.length === 0) return only;
    throw ambiguous(partitions, 'has several partitions that may hold the root');
  }
  throw ambiguous(partitions, 'has no partition that holds a Linux root');
}

/** All partitions of a GPT or MBR disk image. Throws PersonaError 'bad-image'. */
export function readPartitions(disk: ByteSource, arch: string = process.arch): Partition[] {
  for (const sector of [512, 4096]) {
    if (disk.size < 2 * sector + 128) continue;
    if (disk.read(sector, 8).toString('latin1') === gptMagic)
      return gptPartitions(disk, sector, arch);
  }
  if (disk.size < 512 || disk.read(510, 2).readUInt16LE(0) !== 0xaa55) {
    throw badImage('it has no partition table');
  }
  return mbrPartitions(disk);
}

function gptPartitions(disk: ByteSource, sector: number, arch: string): Partition[] {
  const header = Buffer.from(disk.read(sector, 92));
  const checksum = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  const count = header.readUInt32LE(80);
  const entryBytes = header.readUInt32LE(84);
  if (header.readUInt32LE(12) !== 92 || crc32(header) !== checksum) {
    throw badImage('its partition table is damaged');
  }
  if (count > gptEntriesMax || entryBytes < 128 || entryBytes > 4096) {
    throw badImage('its partition table is out of range');
  }
  const start = Number(header.readBigUInt64LE(72)) * sector;
  if (!(start + count * entryBytes <= disk.size)) throw badImage('its partition table is cut off');
  const table = disk.read(start, count * entryBytes);
  if (crc32(table) !== header.readUInt32LE(88)) throw badImage('its partition table is damaged');
  const partitions: Partition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(i * entryBytes, (i + 1) * entryBytes);
    const type = guid(entry);
    if (/^[0-]*$/.test(type)) continue;
    const first = Number(entry.readBigUInt64LE(32));
    const last = Number(entry.readBigUInt64LE(40));
    const role = type === rootTypes[arch] ? 'root' : type === linuxType ? 'linux' : 'other';
    const name = entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '');
    const size = (last - first + 1) * sector;
    partitions.push(
      checked(disk, { number: i + 1, offset: first * sector, size, role, type, name }),
    );
  }
  return partitions;
}

/** The first three parts of a GUID are little-endian. */
function guid(bytes: Buffer): string {
  const part = (from: number, to: number) =>
    Buffer.from(bytes.subarray(from, to)).reverse().toString('hex');
  const rest = bytes.toString('hex', 8, 16);
  return `${part(0, 4)}-${part(4, 6)}-${part(6, 8)}-${rest.slice(0, 4)}-${rest.slice(4)}`;
}

function mbrPartitions(disk: ByteSource): Partition[] {
  const partitions: Partition[] = [];
  for (const { index, type, first, count } of mbrEntries(disk, 0)) {
    if (type === mbrProtective) throw badImage('its partition table (GPT) is missing or damaged');
    if (mbrExtended.has(type)) partitions.push(...logicalPartitions(disk, first));
    else partitions.push(mbrPartition(disk, index + 1, type, first, count));
  }
  return partitions;
}

interface MbrEntry {
  index: number;
  type: number;
  /** In sectors of 512 bytes. */
  first: number;
  count: number;
}

function mbrEntries(disk: ByteSource, sector: number): MbrEntry[] {
  if ((sector + 1) * 512 > disk.size) throw badImage('its partition table is cut off');
  const block = disk.read(sector * 512, 512);
  if (block.readUInt16LE(510) !== 0xaa55) throw badImage('its partition table is damaged');
  const entries: MbrEntry[] = [];
  for (let index = 0; index < 4; index++) {
    const at = 446 + 16 * index;
    const type = block[at + 4] ?? 0;
    if (type === 0) continue;
    entries.push({
      index,
      type,
      first: block.readUInt32LE(at + 8),
      count: block.readUInt32LE(at + 12),
    });
  }
  return entries;
}

/** A chain of tables inside the extended partition: each names one partition and the next table. */
function logicalPartitions(disk: ByteSource, extended: number): Partition[] {
  const partitions: Partition[] = [];
  let table: number | undefined = extended;
  for (let number = 5; table !== undefined; number++) {
    if (number > logicalMax) throw badImage('its partition table leads in a circle');
    const at: number = table;
    table = undefined;
    for (const { type, first, count } of mbrEntries(disk, at)) {
      if (mbrExtended.has(type)) table = extended + first;
      else partitions.push(mbrPartition(disk, number, type, at + first, count));
    }
  }
  return partitions;
}

function mbrPartition(
  disk: ByteSource,
  number: number,
  type: number,
  first: number,
  count: number,
): Partition {
  const role = type === mbrLinux ? 'linux' : 'other';
  return checked(disk, {
    number,
    offset: first * 512,
    size: count * 512,
    role,
    type: type.toString(16).padStart(2, '0'),
    name: '',
  });
}

function checked(disk: ByteSource, partition: Partition): Partition {
  const { number, offset, size } = partition;
  if (!Number.isSafeInteger(offset + size) || size <= 0 || offset <= 0) {
    throw badImage(`partition ${number} is out of range`);
  }
  if (offset + size > disk.size) throw badImage(`it is cut off inside partition ${number}`);
  return partition;
}

function ambiguous(partitions: readonly Partition[], what: string): Error {
  const list = partitions.map(
    ({ number, role, type, name, offset, size }) =>
      `${number} (${role === 'other' ? type : role}${name === '' ? '' : ` ${JSON.stringify(name)}`}, ` +
      `${size} bytes at ${offset})`,
  );
  const error = badImage(`the disk image ${what}; it has: ${list.join(', ') || 'none'}`);
  error.hint = 'Copy the wanted partition into a file of its own (dd with skip and count).';
  return error;
}
