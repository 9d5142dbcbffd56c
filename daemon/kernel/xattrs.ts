import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declare } from './libc.ts';
import { cBytes } from './openat.ts';

const llistxattr = declare('llistxattr', ['bytes', 'bytes', 'u64']);
const lgetxattr = declare('lgetxattr', ['bytes', 'bytes', 'bytes', 'u64']);
const flistxattr = declare('flistxattr', ['int', 'bytes', 'u64']);
const fgetxattr = declare('fgetxattr', ['int', 'bytes', 'bytes', 'u64']);
const lsetxattr = declare('lsetxattr', ['bytes', 'bytes', 'bytes', 'u64', 'int']);

/** XATTR_LIST_MAX and XATTR_SIZE_MAX of include/uapi/linux/limits.h. */
const LIST_BYTES_MAX = 65_536;
const VALUE_BYTES_MAX = 65_536;
/** A list may change between two calls; who changes it faster than this is not waited for. */
const TRIES = 8;

// One buffer each for the life of the process: the calls are synchronous, and results are copied out.
const list = Buffer.allocUnsafeSlow(LIST_BYTES_MAX);
const value = Buffer.allocUnsafeSlow(VALUE_BYTES_MAX);

/** Extended attributes as byte strings, sorted by name. */
export type Xattrs = [name: string, value: string][];

/**
 * All extended attributes of the file at `path` (a byte string; a link is itself): capabilities, ACLs, labels,
 * `user.*`, and for root `trusted.*`. Empty where the file system has none.
 */
export function readXattrs(path: string): Xattrs {
  const file = cBytes(path);
  return readAll(
    () => llistxattr(file, list, LIST_BYTES_MAX),
    (name) => lgetxattr(file, name, value, VALUE_BYTES_MAX),
  );
}

/** The same of an open file or folder. */
export function readXattrsOf(file: Fd): Xattrs {
  return readAll(
    () => flistxattr(file.number, list, LIST_BYTES_MAX),
    (name) => fgetxattr(file.number, name, value, VALUE_BYTES_MAX),
  );
}

function readAll(listNames: () => number, get: (name: Buffer) => number): Xattrs {
  for (let tries = 1; ; tries += 1) {
    try {
      const listed = listNames();
      if (listed === 0) return [];
      const names = list.toString('latin1', 0, listed - 1).split('\0');
      const found = names.map((name): [string, string] => {
        return [name, value.toString('latin1', 0, get(cBytes(name)))];
      });
      return found.sort(([a], [b]) => (a < b ? -1 : 1));
    } catch (error) {
      if (failedWith(error, 'EOPNOTSUPP', 'ENOSYS')) return [];
      // An attribute was removed between the list and its reading.
      if (!failedWith(error, 'ENODATA') || tries === TRIES) throw error;
    }
  }
}

/** Sets one attribute of the file at `path`; byte strings all. */
export function writeXattr(path: string, name: string, content: string): void {
  const bytes = Buffer.from(content, 'latin1');
  lsetxattr(cBytes(path), cBytes(name), bytes, bytes.length, 0);
}
