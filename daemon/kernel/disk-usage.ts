import { statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import diskusage from 'diskusage';

/** Space of the file system that holds a path. */
export interface DiskUsage {
  totalBytes: number;
  freeBytes: number;
  /** What a process without root's reserve may still take. */
  availableBytes: number;
  inodesTotal: number;
  inodesFree: number;
}

/** Space and inodes of the file system at `path`. Throws the error of statfs(2) (ENOENT, ...). */
export async function diskUsageOf(path: string): Promise<DiskUsage> {
  const [space, inodes] = await Promise.all([diskusage.check(path), statfs(path)]);
  return {
    totalBytes: space.total,
    freeBytes: space.free,
    availableBytes: space.available,
    inodesTotal: inodes.files,
    inodesFree: inodes.ffree,
  };
}

/** Magic numbers of statfs(2), linux/magic.h. */
const fileSystemNames: Record<number, string> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlay',
  26985: 'nfs',
  4076150800: 'f2fs',
  801189825: 'zfs',
};

/**
 * The same of the local file system at `path`, at once, and its name as the kernel calls it: it answers from memory, and four
 * changes of thread would cost a swap more than the rest of its planning. Throws the error of statfs(2).
 */
export function localSpaceOf(path: string): DiskUsage & { fileSystem: string } {
  const { type, bsize, blocks, bfree, bavail, files, ffree } = statfsSync(path);
  return {
    fileSystem: fileSystemNames[type] ?? 'unknown',
    totalBytes: blocks * bsize,
    freeBytes: bfree * bsize,
    availableBytes: bavail * bsize,
    inodesTotal: files,
    inodesFree: ffree,
  };
}
