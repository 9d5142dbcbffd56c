import type { ByteSource } from './byte-source.ts';
import type { Limits } from './limits.ts';
import {
  badArchive,
  isZeroBlock,
  notNegative,
  parseTarHeader,
  type TarHeader,
  tarBlockBytes,
  tarPadded,
} from './tar-headers.ts';
import { type PaxRecord, parsePax, paxNumber, paxTime } from './tar-pax.ts';
import { checkSparse, oldSparse, paxSparse } from './tar-sparse.ts';

/** One member of a tar, with all extension headers applied and nothing judged yet. */
export interface TarMember {
  /** As written: may be absolute, climb, or be empty. Byte string. */
  name: string;
  type: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  mtimeNs: number;
  linkName: string;
  rdev: [major: number, minor: number];
  /** Of a file: its length with its holes. */
  size: number;
  /** Of a sparse file: its data, sorted and not touching. */
  extents?: [offset: number, length: number][];
  /** Position of the stored data in the archive; the pieces of a sparse file follow each other. */
  dataOffset: number;
  /** Effective pax records that describe attributes and access lists. */
  attributes: PaxRecord[];
}

/** Body of one pax header. A member's attributes and sparse map have to fit in. */
const paxBytesMax = 4 * 1024 * 1024;
/** Body of a GNU long name. */
const longNameBytesMax = 64 * 1024;
/** Extension headers before one member. */
const extensionsMax = 16;

/** What the extension headers before a member said. */
interface Extensions {
  count: number;
  records: PaxRecord[];
  longName?: string;
  longLink?: string;
}

const fresh = (): Extensions => ({ count: 0, records: [] });

const typeOf: Record<string, TarMember['type']> = {
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  D: 'dir',
  '6': 'fifo',
};

/**
 * The members of a tar in their order: ustar, old tar, GNU and pax with their extensions. The end
 * mark must be there and nothing but zeros may follow it.
 * @throws PersonaError 'bad-archive'.
 */
export function* scanTar(source: ByteSource, limits: Limits): Generator<TarMember> {
  const globals = new Map<string, string>();
  let pending = fresh();
  let at = 0;
  for (;;) {
    if (at === source.size) throw badArchive('it is cut off: the end mark is missing');
    const block = source.read(at, tarBlockBytes);
    at += tarBlockBytes;
    if (isZeroBlock(block)) {
      if (pending.count > 0) throw badArchive('it ends after an extension header');
      checkEnd(source, at);
      return;
    }
    const header = parseTarHeader(block);
    const taken = takeExtension(source, header, at, pending, globals);
    if (taken !== undefined) {
      at = taken;
      continue;
    }
    const { member, next } = completeMember(source, header, at, pending, globals, limits);
    pending = fresh();
    at = next;
    if (member !== undefined) yield member;
  }
}

/** Takes in an extension header; the position after it, or undefined when `header` is a member. */
function takeExtension(
  source: ByteSource,
  header: TarHeader,
  at: number,
  pending: Extensions,
  globals: Map<string, string>,
): number | undefined {
  const { type, size } = header;
  if (!'xXgLK'.includes(type)) return undefined;
  if (++pending.count > extensionsMax)
    throw badArchive('it has too many extension headers in a row');
  const most = type === 'L' || type === 'K' ? longNameBytesMax : paxBytesMax;
  if (size > most) throw badArchive(`it has an extension header of ${size} bytes, over ${most}`);
  const body = source.read(at, size);
  if (type === 'L') pending.longName = untilNul(body);
  else if (type === 'K') pending.longLink = untilNul(body);
  else if (type === 'g') takeGlobals(parsePax(body), globals);
  else pending.records.push(...parsePax(body));
  // What only describes the archive is no reason to wait for a member.
  if (type === 'g') pending.count -= 1;
  return at + tarPadded(size);
}

function takeGlobals(records: PaxRecord[], globals: Map<string, string>): void {
  for (const [key, value] of records) {
    if (/^(?:path|linkpath|size|GNU\.sparse\..*)$/s.test(key)) {
      throw badArchive(`it gives every member the same ${key}`);
    }
    if (globals.size > 1000) throw badArchive('it has too many global pax records');
    globals.set(key, value);
  }
}

function untilNul(body: Buffer): string {
  const end = body.indexOf(0);
  return body.toString('latin1', 0, end < 0 ? body.length : end);
}

/** The records in force: the member's own over the global ones; an empty value takes one away. */
function inForce(globals: Map<string, string>, own: readonly PaxRecord[]): Map<string, string> {
  if (globals.size === 0 && own.length === 0) return noRecords;
  const records = new Map(globals);
  for (const [key, value] of own) {
    // An attribute may well be empty; only standard records are taken away like that.
    if (value === '' && !key.includes('xattr.')) records.delete(key);
    else records.set(key, value);
  }
  return records;
}

const noRecords: Map<string, string> = new Map();

function completeMember(
  source: ByteSource,
  header: TarHeader,
  at: number,
  pending: Extensions,
  globals: Map<string, string>,
  limits: Limits,
): { member?: TarMember; next: number } {
  const records = inForce(globals, pending.records);
  const number = (key: string, otherwise: number): number => {
    const value = records.get(key);
    return value === undefined ? otherwise : paxNumber(value, key);
  };
  const name = records.get('path') ?? pending.longName ?? header.name;
  // 'V' labels the volume: it is no member.
  if (header.type === 'V') return { next: at };
  let type = typeOf[header.type];
  if (type === undefined) throw unknownType(header.type);
  // Before ustar a folder was a file whose name ends in a slash.
  if (type === 'file' && name.endsWith('/') && header.type !== 'S') type = 'dir';
  const bodied = type === 'file' || header.type === 'D';
  const stored = bodied ? number('size', header.size) : 0;
  const time = records.get('mtime');
  const member: TarMember = {
    name,
    type,
    mode: header.mode,
    uid: notNegative(number('uid', header.uid), 'owner'),
    gid: notNegative(number('gid', header.gid), 'group'),
    ...(time === undefined ? { mtime: header.mtime, mtimeNs: 0 } : paxTime(time)),
    linkName: records.get('linkpath') ?? pending.longLink ?? header.linkName,
    rdev: [header.major, header.minor],
    size: type === 'file' ? stored : 0,
    dataOffset: at,
    attributes: records.size === 0 ? [] : [...records].filter(([key]) => isAttribute(key)),
  };
  let next = at + tarPadded(stored);
  if (type === 'file') next = placeData(source, header, member, pending.records, stored, limits);
  if (next > source.size && at + stored > source.size) {
    throw badArchive('it is cut off in the middle of a file');
  }
  return { member, next: Math.min(next, source.size) };
}

/** Fills in where the data lies; returns the position after it. */
function placeData(
  source: ByteSource,
  header: TarHeader,
  member: TarMember,
  own: readonly PaxRecord[],
  stored: number,
  limits: Limits,
): number {
  const at = member.dataOffset;
  const old = header.type === 'S';
  const map = old
    ? oldSparse(source, header.block, at, limits.extents)
    : paxSparse(source, own, at, stored, limits.extents);
  if (map === undefined) return at + tarPadded(stored);
  // The old form counts only the data as stored; the new one counts the map in front of it too.
  const data = old ? stored : stored - (map.dataOffset - at);
  member.extents = checkSparse(map, data);
  member.size = map.size;
  member.dataOffset = map.dataOffset;
  if (map.name !== undefined) member.name = map.name;
  return map.dataOffset + tarPadded(data);
}

function isAttribute(key: string): boolean {
  return /^(?:SCHILY\.(?:xattr|acl)|LIBARCHIVE\.xattr|RHT\.security)\./.test(key);
}

function unknownType(type: string): Error {
  if (type === 'M') return badArchive('it is one volume of several');
  return badArchive(`it has a member of the unknown type ${JSON.stringify(type)}`);
}

/** After the first block of zeros only zeros may follow: a joined second archive would be lost. */
function checkEnd(source: ByteSource, from: number): void {
  const step = 64 * 1024;
  const zeros = Buffer.alloc(step);
  for (let at = from; at < source.size; at += step) {
    const piece = source.read(at, Math.min(step, source.size - at));
    if (!piece.equals(piece.length === step ? zeros : zeros.subarray(0, piece.length))) {
      throw badArchive('something follows its end mark');
    }
  }
}
