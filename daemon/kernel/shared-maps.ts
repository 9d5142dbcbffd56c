import { failedWith } from './errno.ts';
import { hangsInExec } from './mid-exec.ts';
import { MAPS_BYTES_MAX, readProcLines } from './proc-text.ts';

/** A mapping that others see: its inode is of the file system with this device number. Only a line feed ends the path before it. */
const shared = /(?<![^\n])\S+ ...s \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)/g;

/** Inodes of one file system that a text like /proc/PID/maps shows as shared mappings. Pure. */
export function sharedIn(maps: string, device: string): string[] {
  return [...maps.matchAll(shared)].flatMap(([, major = '', minor = '', inode = '']) =>
    `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}` === device ? [inode] : [],
  );
}

/**
 * Inodes of the file system `device` (major:minor) that these processes have mapped so that writing reaches the file: on a tmpfs no time stamp
 * tells of that. Mappings that are only read now count as well, because that may change. A process that has ended has none, and neither has one
 * that is on its way to another program.
 * Throws EFBIG when one has too many to be told.
 */
export async function sharedMappings(
  pids: readonly number[],
  device: string,
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const pid of pids) {
    if (hangsInExec(pid)) continue;
    try {
      await readProcLines(`/proc/${pid}/maps`, MAPS_BYTES_MAX, (lines) => {
        for (const inode of sharedIn(lines, device)) found.add(inode);
        return false;
      });
    } catch (error) {
      if (!failedWith(error, 'ENOENT', 'ESRCH')) throw error;
    }
  }
  return found;
}
