import type { ByteSource } from './byte-source.ts';
import { badArchive, tarBlockBytes, tarNumber } from './tar-headers.ts';
import { type PaxRecord, paxNumber } from './tar-pax.ts';

/** Where the data of a sparse file lies, and where its stored bytes begin in the archive. */
export interface SparseMap {
  /** Length of the file with its holes. */
  size: number;
  /** As written: sorted, may touch, may be empty pieces. */
  extents: [offset: number, length: number][];
  /** Position of the first stored data byte. */
  dataOffset: number;
  /** Name of the file when the map brings one (pax forms put a made-up one in the header). */
  name?: string;
}

/** A sparse map in the data (pax form 1.0) may not be longer than this. */
const mapBytesMax = 4 * 1024 * 1024;

/**
 * The map of an old GNU sparse member (type 'S'): four pieces in the header, then blocks of 21.
 * @param next position after the header, where the further blocks lie.
 */
export function oldSparse(
  source: ByteSource,
  block: Buffer,
  next: number,
  extentsMax: number,
): SparseMap {
  const extents: [number, number][] = [];
  const take = (from: Buffer, at: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      const offset = tarNumber(from, at + 24 * i, 12, 'sparse offset');
      const length = tarNumber(from, at + 24 * i + 12, 12, 'sparse length');
      if (offset !== 0 || length !== 0) extents.push([offset, length]);
    }
    if (extents.length > extentsMax) throw tooMany(extentsMax);
  };
  take(block, 386, 4);
  let dataOffset = next;
  for (let more = block[482] !== 0; more; ) {
    const further = source.read(dataOffset, tarBlockBytes);
    take(further, 0, 21);
    more = further[504] !== 0;
    dataOffset += tarBlockBytes;
  }
  return { size: tarNumber(block, 483, 12, 'sparse size'), extents, dataOffset };
}

/**
 * The map that pax records describe (GNU forms 0.0, 0.1 and 1.0), or undefined when they describe
 * none.
 * @param dataOffset position of the stored bytes of the member.
 * @param stored number of them.
 */
export function paxSparse(
  source: ByteSource,
  records: readonly PaxRecord[],
  dataOffset: number,
  stored: number,
  extentsMax: number,
): SparseMap | undefined {
  const facts = new Map(records.filter(([key]) => key.startsWith('GNU.sparse.')));
  if (facts.size === 0) return undefined;
  const name = facts.get('GNU.sparse.name');
  const named = name === undefined ? {} : { name };
  if (facts.has('GNU.sparse.major')) {
    if (facts.get('GNU.sparse.major') !== '1' || facts.get('GNU.sparse.minor') !== '0') {
      throw badArchive('it has a sparse file of an unknown form');
    }
    const size = paxNumber(facts.get('GNU.sparse.realsize') ?? '', 'sparse size');
    const map = mapInData(source, dataOffset, stored, extentsMax);
    return { size, ...map, ...named };
  }
  const size = paxNumber(facts.get('GNU.sparse.size') ?? '', 'sparse size');
  const list = facts.get('GNU.sparse.map');
  const numbers = list !== undefined ? list.split(',') : pairsInRecords(records);
  return { size, extents: paired(numbers, extentsMax), dataOffset, ...named };
}

/** Form 0.0 repeats two records for each piece. */
function pairsInRecords(records: readonly PaxRecord[]): string[] {
  const numbers: string[] = [];
  for (const [key, value] of records) {
    const offset = key === 'GNU.sparse.offset';
    if (!offset && key !== 'GNU.sparse.numbytes') continue;
    if ((numbers.length % 2 === 0) !== offset) throw badArchive('a sparse map is out of order');
    numbers.push(value);
  }
  return numbers;
}

function paired(numbers: readonly string[], extentsMax: number): [number, number][] {
  if (numbers.length === 1 && numbers[0] === '') return [];
  if (numbers.length % 2 !== 0) throw badArchive('a sparse map is incomplete');
  if (numbers.length / 2 > extentsMax) throw tooMany(extentsMax);
  const extents: [number, number][] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = paxNumber(numbers[i] ?? '', 'sparse offset');
    extents.push([offset, paxNumber(numbers[i + 1] ?? '', 'sparse length')]);
  }
  return extents;
}

/** Form 1.0: a count and the pairs, one decimal number a line, padded to whole blocks. */
function mapInData(
  source: ByteSource,
  dataOffset: number,
  stored: number,
  extentsMax: number,
): { extents: [number, number][]; dataOffset: number } {
  const numbers: string[] = [];
  let text = '';
  let used = 0;
  let wanted = 1;
  while (numbers.length < wanted) {
    if (used + tarBlockBytes > stored || used >= mapBytesMax) {
      throw badArchive('a sparse map is longer than its file');
    }
    text += source.read(dataOffset + used, tarBlockBytes).toString('latin1');
    used += tarBlockBytes;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      if (numbers.length === wanted) break;
      numbers.push(line);
      if (numbers.length !== 1) continue;
      wanted = 1 + 2 * paxNumber(line, 'sparse count');
      if (wanted > 2 * extentsMax) throw tooMany(extentsMax);
    }
    if (text.length > tarBlockBytes) throw badArchive('a sparse map is not made of numbers');
  }
  return { extents: paired(numbers.slice(1), extentsMax), dataOffset: dataOffset + used };
}

/**
 * The pieces of a map in canonical form: no empty ones, none touching.
 * @throws PersonaError 'bad-archive' when they overlap, leave the file, or do not add up to `stored`.
 */
export function checkSparse(map: SparseMap, stored: number): [number, number][] {
  const extents: [number, number][] = [];
  let end = 0;
  let sum = 0;
  for (const [offset, length] of map.extents) {
    if (offset < end || offset + length > map.size)
      throw badArchive('a sparse map is out of order');
    end = offset + length;
    sum += length;
    const last = extents.at(-1);
    if (length === 0) continue;
    if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
    else extents.push([offset, length]);
  }
  if (sum !== stored) throw badArchive('a sparse map does not fit the stored data');
  return extents;
}

function tooMany(extentsMax: number): Error {
  return badArchive(`a sparse file has more than ${extentsMax} pieces`);
}
