import type { Entry } from './entry.ts';
import { isCarriedXattr } from './entry-grammar.ts';
import { type Ext4Inode, readInode } from './ext4-inode.ts';
import { type Ext4Volume, readBlock } from './ext4-volume.ts';
import { badImage } from './faults.ts';
import { xattrValueBytesMax } from './limits.ts';
import { compareBytes } from './order.ts';
import { aclFromExt4, aclToXattr, aclXattrs } from './posix-acl.ts';

const attributeMagic = 0xea020000;
/** Bytes before the first entry in an attribute block. */
const blockHeaderBytes = 32;

/** Numbers for the beginnings of names (fs/ext4/xattr.h). */
const prefixes: Record<number, string> = {
  1: 'user.',
  2: aclXattrs.access,
  3: aclXattrs.default,
  4: 'trusted.',
  6: 'security.',
  7: 'system.',
};

/** Content of small files and folders, kept among the attributes. */
export const inlineDataName = 'system.data';

/**
 * All attributes of an inode as stored: those inside it and those in its block.
 * @param readValue gives the content of an inode that holds one large value.
 * @throws PersonaError 'bad-image'.
 */
export function rawAttributes(
  volume: Ext4Volume,
  inode: Ext4Inode,
  readValue: (holder: Ext4Inode) => Buffer,
): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  const holder = (number: number) => readValue(readInode(volume, number));
  const area = inode.attributeArea;
  if (area.length >= 8 && area.readUInt32LE(0) === attributeMagic) {
    // Values inside an inode are counted from the first entry, not from the magic.
    takeEntries(inode, area.subarray(4), 0, holder, found);
  }
  if (inode.attributeBlock !== 0) {
    const block = readBlock(volume, inode.attributeBlock);
    if (block.readUInt32LE(0) !== attributeMagic) throw damaged(inode);
    takeEntries(inode, block, blockHeaderBytes, holder, found);
  }
  return found;
}

function takeEntries(
  inode: Ext4Inode,
  area: Buffer,
  first: number,
  holder: (number: number) => Buffer,
  found: Map<string, Buffer>,
): void {
  for (let at = first; at + 4 <= area.length && area.readUInt32LE(at) !== 0; ) {
    const nameLength = area[at] ?? 0;
    if (at + 16 + nameLength > area.length) throw damaged(inode);
    const prefix = prefixes[area[at + 1] ?? 0];
    const name = area.toString('latin1', at + 16, at + 16 + nameLength);
    const offset = area.readUInt16LE(at + 2);
    const valueInode = area.readUInt32LE(at + 4);
    const size = area.readUInt32LE(at + 8);
    if (size > 65536) throw damaged(inode);
    let value: Buffer;
    if (valueInode !== 0) value = holder(valueInode).subarray(0, size);
    else if (offset + size <= area.length) value = area.subarray(offset, offset + size);
    else throw damaged(inode);
    if (value.length !== size) throw damaged(inode);
    // Of what only other systems or special features use there is nothing to carry.
    if (prefix !== undefined) found.set(prefix + name, value);
    at += 16 + Math.ceil(nameLength / 4) * 4;
  }
}

/** Attributes in the form of an entry: access lists converted, sorted, internal ones left out. */
export function ext4Xattrs(inode: Ext4Inode, raw: ReadonlyMap<string, Buffer>): Entry['xattrs'] {
  const xattrs: Entry['xattrs'] = [];
  for (const [name, value] of raw) {
    if (!isCarriedXattr(name)) continue;
    if (value.length > xattrValueBytesMax)
      throw badImage(`an attribute of inode ${inode.number} is too large`);
    xattrs.push([name, isAcl(name) ? aclValue(inode, value) : value.toString('latin1')]);
  }
  return xattrs.sort(([a], [b]) => compareBytes(a, b));
}

function isAcl(name: string): boolean {
  return name === aclXattrs.access || name === aclXattrs.default;
}

function aclValue(inode: Ext4Inode, value: Buffer): string {
  const entries = aclFromExt4(value);
  if (entries === undefined)
    throw badImage(`the ext4 inode ${inode.number} has a damaged access list`);
  return aclToXattr(entries);
}

function damaged(inode: Ext4Inode): Error {
  return badImage(`the ext4 inode ${inode.number} has damaged attributes`);
}
