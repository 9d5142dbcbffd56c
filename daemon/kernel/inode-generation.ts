import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

/** FS_IOC_GETVERSION of linux/fs.h: _IOR('v', 1, long). The kernel writes an int. */
const FS_IOC_GETVERSION = 0x80087601n;

const ioctl = declareInt('ioctl', ['int', 'u64', 'bytes']);

/** What tells an inode from the next one that gets its number; undefined where the file system keeps no such count. */
export function inodeGeneration(file: Fd): number | undefined {
  const value = Buffer.alloc(8);
  try {
    ioctl(file.number, FS_IOC_GETVERSION, value);
  } catch (error) {
    if (failedWith(error, 'ENOTTY', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS')) return undefined;
    throw error;
  }
  return value.readUInt32LE(0);
}
