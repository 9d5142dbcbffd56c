import { type Entry, overlayNotes } from './entry.ts';
import { xattrHeaderBytes, xattrPrefixes } from './erofs-format.ts';
import { type ErofsImage, unsupported } from './erofs-image.ts';
import type { Inode } from './erofs-inode.ts';
import { badImage } from './faults.ts';
import { compareBytes } from './order.ts';

/** Areas longer than this are hardly ever equal, and not worth remembering. */
const rememberedBytes = 512;
const rememberedMax = 4096;
const nothing: Entry['xattrs'] = [];

/** Reads attributes; equal ones (security labels) are one list in memory, not to be changed. */
export class XattrReader {
  private readonly known = new Map<string, Entry['xattrs']>();

  /** The attributes of an inode, inline and shared ones, sorted by name. */
  read(image: ErofsImage, inode: Inode): Entry['xattrs'] {
    if (inode.xattrBytes === 0) return nothing;
    const area = image.read(inode.xattrAt, inode.xattrBytes);
    if (area.length > rememberedBytes) return decodeArea(image, inode, area);
    const key = area.toString('latin1');
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const found = decodeArea(image, inode, area);
    if (this.known.size < rememberedMax) this.known.set(key, found);
    return found;
  }
}

function decodeArea(image: ErofsImage, inode: Inode, area: Buffer): Entry['xattrs'] {
  const shared = area.readUInt8(4);
  let at = xattrHeaderBytes + shared * 4;
  if (at > area.length) throw badImage(`inode ${inode.nid} has more attributes than room for them`);
  const found: Entry['xattrs'] = [];
  for (let i = 0; i < shared; i++) {
    const position = image.xattrStart + area.readUInt32LE(xattrHeaderBytes + i * 4) * 4;
    const header = image.read(position, 4);
    found.push(decodeXattr(image.read(position, 4 + header.readUInt8(0) + header.readUInt16LE(2))));
  }
  while (at < area.length) {
    if (at + 4 > area.length) throw badImage(`inode ${inode.nid} has a broken attribute`);
    const end = at + 4 + area.readUInt8(at) + area.readUInt16LE(at + 2);
    if (end > area.length) throw badImage(`inode ${inode.nid} has an attribute beyond its area`);
    found.push(decodeXattr(area.subarray(at, end)));
    at = Math.ceil(end / 4) * 4;
  }
  const kept = found.filter(([name]) => !overlayNotes.has(name));
  return kept.sort((a, b) => compareBytes(a[0], b[0]));
}

const prefixes = new Map(xattrPrefixes);

function decodeXattr(bytes: Buffer): [name: string, value: string] {
  const prefix = prefixes.get(bytes.readUInt8(1));
  if (prefix === undefined) throw unsupported('attributes of an unknown name space');
  const nameEnd = 4 + bytes.readUInt8(0);
  return [prefix + bytes.toString('latin1', 4, nameEnd), bytes.toString('latin1', nameEnd)];
}
