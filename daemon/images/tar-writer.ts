import { dataBytes, type Entry, extentsOf } from './entry.ts';
import { formatTarHeader, tarNameBytesMax, tarNumberMax } from './tar-blocks.ts';
import { tarBlockBytes, tarPadded } from './tar-headers.ts';
import { formatPax, type PaxRecord } from './tar-pax.ts';
import type { Tree } from './tree.ts';

const typeFlags: Partial<Record<Entry['type'], string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
};

/**
 * A tree as a pax tar, as GNU tar and libarchive read it: attributes as SCHILY.xattr records, holes
 * in the GNU form 1.0, times to the nanosecond. Sockets, which no tar can hold, are left out. The
 * same tree gives the same bytes.
 */
export async function* treeToTar(tree: Tree): AsyncGenerator<Buffer> {
  for (const entry of tree.entries) {
    const type = typeFlags[entry.type];
    if (type === undefined) continue;
    const map = entry.extents === undefined ? undefined : sparseMap(entry);
    const stored = dataBytes(entry) + (map?.length ?? 0);
    yield memberHeader(entry, type, stored);
    if (map !== undefined) yield map;
    if (entry.type !== 'file') continue;
    yield* tree.read(entry);
    const padding = tarPadded(stored) - stored;
    if (padding > 0) yield Buffer.alloc(padding);
  }
  yield Buffer.alloc(2 * tarBlockBytes);
}

function memberHeader(entry: Entry, type: string, stored: number): Buffer {
  const name = `./${entry.path}${entry.type === 'dir' && entry.path !== '' ? '/' : ''}`;
  const records = paxRecords(entry, name, stored);
  const header = formatTarHeader({
    name,
    type,
    mode: entry.mode,
    size: stored,
    uid: entry.uid,
    gid: entry.gid,
    mtime: entry.mtime,
    linkName: linkNameOf(entry),
    major: entry.rdev?.[0] ?? 0,
    minor: entry.rdev?.[1] ?? 0,
  });
  if (records.length === 0) return header;
  const body = formatPax(records);
  const extension = formatTarHeader({
    name: 'PaxHeaders/x',
    type: 'x',
    mode: 0o644,
    size: body.length,
  });
  const padding = Buffer.alloc(tarPadded(body.length) - body.length);
  return Buffer.concat([extension, body, padding, header]);
}

function linkNameOf(entry: Entry): string {
  if (entry.type === 'hardlink') return `./${entry.target ?? ''}`;
  return entry.target ?? '';
}

/** What the header block cannot say. */
function paxRecords(entry: Entry, name: string, stored: number): PaxRecord[] {
  const records: PaxRecord[] = [];
  const link = linkNameOf(entry);
  if (name.length > tarNameBytesMax) records.push(['path', name]);
  if (link.length > tarNameBytesMax) records.push(['linkpath', link]);
  if (entry.uid > tarNumberMax.short) records.push(['uid', String(entry.uid)]);
  if (entry.gid > tarNumberMax.short) records.push(['gid', String(entry.gid)]);
  if (stored > tarNumberMax.long) records.push(['size', String(stored)]);
  const { mtime, mtimeNs } = entry;
  if (mtimeNs !== 0 || mtime < 0 || mtime > tarNumberMax.long) {
    records.push(['mtime', timeText(mtime, mtimeNs)]);
  }
  if (entry.extents !== undefined) {
    records.push(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0']);
    records.push(['GNU.sparse.name', name], ['GNU.sparse.realsize', String(entry.size)]);
  }
  for (const [key, value] of entry.xattrs) records.push([`SCHILY.xattr.${key}`, value]);
  return records;
}

/** -86399.25 is stored as second -86400 and 750 million nanoseconds. */
function timeText(seconds: number, ns: number): string {
  if (seconds >= 0 || ns === 0) return decimal(seconds, ns, '');
  return decimal(-seconds - 1, 1e9 - ns, '-');
}

function decimal(seconds: number, ns: number, sign: string): string {
  const digits = String(ns).padStart(9, '0').replace(/0+$/, '');
  return `${sign}${seconds}${digits === '' ? '' : `.${digits}`}`;
}

function sparseMap(entry: Entry): Buffer {
  const extents = extentsOf(entry);
  const numbers = [extents.length, ...extents.flat()];
  // A hole at the end is told by an empty piece at the end.
  const [offset, length] = extents.at(-1) ?? [0, 0];
  if (offset + length < (entry.size ?? 0)) {
    numbers[0] = extents.length + 1;
    numbers.push(entry.size ?? 0, 0);
  }
  const text = Buffer.from(numbers.map((number) => `${number}\n`).join(''), 'latin1');
  return Buffer.concat([text, Buffer.alloc(tarPadded(text.length) - text.length)]);
}
