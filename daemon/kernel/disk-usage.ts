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

/**
 * Total and available bytes of the local file system at `path`, at once: it answers from memory, and four changes of
 * thread would cost a swap more than the rest of its planning. Throws the error of statfs(2).
 */
export function localSpaceOf(path: string): Pick<DiskUsage, 'totalBytes' | 'availableBytes'> {
  const { bsize, blocks, bavail } = statfsSync(path);
  return { totalBytes: blocks * bsize, availableBytes: bavail * bsize };
}
