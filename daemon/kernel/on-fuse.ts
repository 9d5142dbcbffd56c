import type { Fd } from './fd.ts';
import { readMountinfo } from './mountinfo.ts';
import { statProcLink } from './stat-mount.ts';

/** True when a program of this machine serves the file system of an open file (FUSE): whoever waits for it waits for that program. Asks none. */
export function isOnFuse(file: Fd): boolean {
  const mountId = statProcLink(file.path)?.mountId;
  const type = readMountinfo().find(({ id }) => id === mountId)?.type ?? '';
  return /^fuse(blk)?(\.|$)/.test(type);
}
