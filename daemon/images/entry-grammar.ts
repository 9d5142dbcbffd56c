import {
  type Entry,
  type EntryType,
  entryTypes,
  opaqueXattr,
  overlayNotes,
  overlayXattrPrefix,
  shownPath,
} from './entry.ts';
import { badImage, overLimit } from './faults.ts';
import {
  defaultLimits,
  type Limits,
  nameBytesMax,
  targetBytesMax,
  xattrNameBytesMax,
  xattrValueBytesMax,
} from './limits.ts';
import { compareBytes } from './order.ts';

/**
 * Checks a foreign value against the grammar of an entry and returns it as one. `marked`: it is of a writable layer, and may
 * carry what overlayfs notes there.
 * @throws PersonaError 'bad-image' with the path and what is wrong; 'limit-exceeded'.
 */
export function checkEntry(value: unknown, limits: Limits = defaultLimits, marked = false): Entry {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badImage('an entry is not an object');
  }
  const entry = value as Entry;
  checkPath(entry.path, limits);
  if (!entryTypes.includes(entry.type)) bad(entry, 'unknown type');
  whole(entry, 'mode', entry.mode, 0, 0o7777);
  whole(entry, 'uid', entry.uid, 0, 0xfffffffe);
  whole(entry, 'gid', entry.gid, 0, 0xfffffffe);
  whole(entry, 'mtime', entry.mtime, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  whole(entry, 'mtimeNs', entry.mtimeNs, 0, 999_999_999);
  checkXattrs(entry, limits, marked);
  for (const key in entry) {
    if (!(commonKeys.has(key) || keysOf[entry.type].has(key))) bad(entry, `unexpected ${key}`);
  }
  if (entry.path === '' && entry.type !== 'dir') bad(entry, 'the root is not a folder');
  if (entry.type === 'symlink') {
    checkText(entry, 'target', entry.target, 1, targetBytesMax);
    if (entry.mode !== 0o777) bad(entry, 'mode of a symlink is not 0777');
  } else if (entry.type === 'hardlink') {
    checkPath(entry.target, limits);
    if (entry.target === '') bad(entry, 'hard link to the root');
    // Its metadata is that of its target; only one form of a tree may exist.
    if (entry.mode + entry.uid + entry.gid + entry.mtimeNs !== 0 || entry.mtime !== 0) {
      bad(entry, 'hard link with metadata of its own');
    }
  } else if (entry.type === 'char' || entry.type === 'block') {
    checkRdev(entry);
  } else if (entry.type === 'file') checkExtents(entry, limits);
  return entry;
}

const commonKeys = new Set('path type mode uid gid mtime mtimeNs xattrs'.split(' '));
const none = new Set<string>();
const keysOf: Record<EntryType, ReadonlySet<string>> = {
  dir: none,
  file: new Set(['size', 'extents']),
  symlink: new Set(['target']),
  hardlink: new Set(['target']),
  char: new Set(['rdev']),
  block: new Set(['rdev']),
  fifo: none,
  socket: none,
};

/**
 * Checks the grammar of a path ('' = the root).
 * @throws PersonaError 'bad-image' or 'limit-exceeded'.
 */
export function checkPath(path: unknown, limits: Limits = defaultLimits): asserts path is string {
  if (typeof path !== 'string') throw badImage('a path is not a string');
  if (path === '') return;
  if (path.length > limits.pathBytes) {
    throw overLimit('a path', `${limits.pathBytes} bytes`);
  }
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= path.length; i++) {
    const c = i === path.length ? 0x2f : path.charCodeAt(i);
    if (c === 0 || c > 0xff) badPath(path, 'holds a character that is not a byte of a name');
    if (c !== 0x2f) continue;
    checkName(path, path.slice(start, i));
    start = i + 1;
    if (++depth > limits.depth) {
      throw overLimit('the depth of a path', `${limits.depth} folders`);
    }
  }
}

function checkName(path: string, name: string): void {
  if (name === '') badPath(path, 'has an empty component or a slash at an end');
  if (name === '.' || name === '..') badPath(path, `has the component ${name}`);
  if (name.length > nameBytesMax) badPath(path, `has a component over ${nameBytesMax} bytes`);
}

function checkXattrs(entry: Entry, limits: Limits, marked: boolean): void {
  if (!Array.isArray(entry.xattrs)) bad(entry, 'attributes are not a list');
  if (entry.type === 'hardlink' && entry.xattrs.length > 0) bad(entry, 'hard link with attributes');
  let bytes = 0;
  let previous = '';
  for (const pair of entry.xattrs) {
    if (!Array.isArray(pair) || pair.length !== 2) bad(entry, 'an attribute is not a pair');
    const [name, value] = pair;
    checkText(entry, 'attribute name', name, 1, xattrNameBytesMax);
    checkText(entry, 'attribute value', value, 0, xattrValueBytesMax, true);
    if (compareBytes(previous, name) >= 0) bad(entry, 'attributes are not sorted');
    previous = name;
    bytes += name.length + value.length;
    if (!xattrNamePattern.test(name)) bad(entry, `attribute ${name} cannot be kept in a layer`);
    if (name.startsWith(overlayXattrPrefix)) checkOverlayXattr(entry, name, value, marked);
  }
  if (bytes > limits.xattrBytes) {
    throw overLimit(`the attributes of ${show(entry)}`, `${limits.xattrBytes} bytes`);
  }
}

/** The name spaces that an erofs image can carry. */
const xattrNamePattern =
  /^(?:(?:user|trusted|security)\.[^\0]+|system\.posix_acl_(?:access|default))$/s;

/** True when a reader keeps an attribute of this name; the others mean nothing in a layer. */
export function isCarriedXattr(name: string): boolean {
  return name.length <= xattrNameBytesMax && xattrNamePattern.test(name) && !overlayNotes.has(name);
}

/** Marks of a writable layer that say something about the layer itself. */
const upperMarks = new Set([
  ...overlayNotes,
  ...['opaque', 'upper', 'protattr'].map((name) => overlayXattrPrefix + name),
]);

function checkOverlayXattr(entry: Entry, name: string, value: string, marked: boolean): void {
  // What a program inside set itself, on an overlay within the overlay, stands one level deeper and steers nothing of ours.
  if (marked && (upperMarks.has(name) || name.startsWith(`${overlayXattrPrefix}overlay.`))) return;
  // redirect, metacopy and their kin make the kernel read outside the entry's own place.
  if (name !== opaqueXattr || value !== 'y' || entry.type !== 'dir') {
    bad(entry, `attribute ${name} steers overlayfs and is never accepted`);
  }
}

function checkRdev(entry: Entry): void {
  const rdev = entry.rdev;
  if (!Array.isArray(rdev) || rdev.length !== 2) bad(entry, 'device without numbers');
  // 12 and 20 bits: what the kernel's dev_t holds.
  whole(entry, 'major', rdev[0], 0, 0xfff);
  whole(entry, 'minor', rdev[1], 0, 0xfffff);
}

function checkExtents(entry: Entry, limits: Limits): void {
  const size = entry.size;
  whole(entry, 'size', size, 0, Number.MAX_SAFE_INTEGER);
  if (size > limits.fileBytes) {
    throw overLimit(`the size of ${show(entry)}`, `${limits.fileBytes} bytes`);
  }
  if (entry.extents === undefined) return;
  if (!Array.isArray(entry.extents)) bad(entry, 'extents are not a list');
  if (entry.extents.length > limits.extents) {
    throw overLimit(`the number of data extents of ${show(entry)}`, limits.extents);
  }
  let end = -1;
  for (const extent of entry.extents) {
    if (!Array.isArray(extent) || extent.length !== 2) bad(entry, 'an extent is not a pair');
    const [offset, length] = extent;
    whole(entry, 'extent', offset, end + 1, size);
    whole(entry, 'extent', length, 1, size - offset);
    end = offset + length;
  }
}

function checkText(
  entry: Entry,
  what: string,
  text: unknown,
  least: number,
  most: number,
  anyByte = false,
): asserts text is string {
  if (typeof text !== 'string') bad(entry, `${what} is not a string`);
  if (text.length < least || text.length > most) bad(entry, `${what} has a wrong length`);
  if (!(anyByte ? /^[\0-\xff]*$/ : /^[\x01-\xff]*$/).test(text)) {
    bad(entry, `${what} holds a character that is not allowed`);
  }
}

function whole(
  entry: Entry,
  what: string,
  value: unknown,
  least: number,
  most: number,
): asserts value is number {
  if (!Number.isSafeInteger(value) || Object.is(value, -0))
    bad(entry, `${what} is not a whole number`);
  if ((value as number) < least || (value as number) > most) bad(entry, `${what} is out of range`);
}

function show(entry: Entry): string {
  return typeof entry.path === 'string' ? shownPath(entry.path) : 'an entry';
}

function bad(entry: Entry, reason: string): never {
  throw badImage(`${show(entry)}: ${reason}`);
}

function badPath(path: string, reason: string): never {
  throw badImage(`the path ${shownPath(path)} ${reason}`);
}
