import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import type { Entry } from '../../daemon/images/entry.ts';
import { compareBytes } from '../../daemon/images/order.ts';
import { arrangeEntries, type Tree, treeOf } from '../../daemon/images/tree.ts';
import { declare } from '../../daemon/kernel/libc.ts';

const listXattrs = declare('llistxattr', ['bytes', 'bytes', 'u64']);
const getXattr = declare('lgetxattr', ['bytes', 'text', 'bytes', 'u64']);

/** A real folder as a tree with all its metadata: what a test compares with. Reads as it is used. */
export function treeOfFolder(root: string): Tree {
  const entries: Entry[] = [];
  const firstNames = new Map<string, string>();
  const at = (path: string) => Buffer.from(`${root}/${path}`, 'latin1');
  const open = [''];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const entry = describe(at(path), path, firstNames);
    entries.push(entry);
    if (entry.type !== 'dir') continue;
    for (const name of readdirSync(at(path), 'latin1' as 'utf8')) {
      open.push(path === '' ? name : `${path}/${name}`);
    }
  }
  return treeOf(arrangeEntries(entries), (entry) => readFile(at(entry.path)));
}

async function* readFile(path: Buffer): AsyncGenerator<Buffer> {
  const fd = openSync(path, 'r');
  try {
    for (;;) {
      const piece = Buffer.allocUnsafe(256 * 1024);
      const bytes = readSync(fd, piece, 0, piece.length, null);
      if (bytes === 0) return;
      yield piece.subarray(0, bytes);
    }
  } finally {
    closeSync(fd);
  }
}

function describe(full: Buffer, path: string, firstNames: Map<string, string>): Entry {
  const stat = lstatSync(full, { bigint: true });
  const key = `${stat.dev}:${stat.ino}`;
  const target = firstNames.get(key);
  if (target !== undefined && !stat.isDirectory()) {
    const zero = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
    return { path, type: 'hardlink', ...zero, xattrs: [], target };
  }
  if (stat.nlink > 1n) firstNames.set(key, path);
  const billion = 1_000_000_000n;
  const fraction = ((stat.mtimeNs % billion) + billion) % billion;
  const entry: Entry = {
    path,
    type: typeOf(stat),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: Number((stat.mtimeNs - fraction) / billion),
    mtimeNs: Number(fraction),
    xattrs: xattrsOf(full),
  };
  if (entry.type === 'file') entry.size = Number(stat.size);
  if (entry.type === 'symlink') entry.target = readlinkSync(full, 'latin1' as 'utf8');
  if (entry.type === 'char' || entry.type === 'block') {
    const device = Number(stat.rdev);
    const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
    entry.rdev = [(device >>> 8) & 0xfff, minor];
  }
  return entry;
}

function typeOf(stat: ReturnType<typeof lstatSync>): Entry['type'] {
  if (stat === undefined || stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'dir';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isFIFO()) return 'fifo';
  if (stat.isSocket()) return 'socket';
  return stat.isBlockDevice() ? 'block' : 'char';
}

function xattrsOf(full: Buffer): Entry['xattrs'] {
  const path = Buffer.concat([full, Buffer.alloc(1)]);
  const list = Buffer.alloc(65536);
  const names = list.toString('latin1', 0, listXattrs(path, list, list.length));
  const value = Buffer.alloc(65536);
  return names
    .split('\0')
    .filter((name) => name !== '')
    .map((name): [string, string] => {
      const bytes = getXattr(path, name, value, value.length);
      return [name, value.toString('latin1', 0, bytes)];
    })
    .sort((a, b) => compareBytes(a[0], b[0]));
}
