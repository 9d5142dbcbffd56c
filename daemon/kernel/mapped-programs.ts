import { fstatSync } from 'node:fs';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { hangsInExec } from './mid-exec.ts';
import { OPEN, openFolder, openInRoot } from './openat.ts';
import { MAPS_BYTES_MAX, readProcLines } from './proc-text.ts';

/** A file that a program runs code of, open to be read; who has it closes it. */
export interface MappedProgram {
  path: string;
  bytes: number;
  file: Fd;
}

/** A mapping that is executed, of a file: its inode and path. Only a line feed ends the path. */
const executed = /(?<![^\n])\S+ ..x\S \S+ \S+ (\d+) +(\/[^\n]*)/g;
/** More are not opened for one application. */
const FILES_MAX = 1_000;
/** Where only packages write. */
const systemPlace = /^\/(usr|bin|sbin|lib\d*)\//;
const MODE_TYPE = 0o170000n;
const MODE_FILE = 0o100000n;
/** By its group, or by everybody. */
const MODE_WRITE = 0o022n;

/** Files that a text like /proc/PID/maps shows code of, each once, in its order. Pure. */
export function executedIn(maps: string): { path: string; inode: string }[] {
  const found = new Map<string, { path: string; inode: string }>();
  for (const [, inode = '', path = ''] of maps.matchAll(executed))
    if (!found.has(path)) found.set(path, { path, inode });
  return [...found.values()];
}

function opened(root: string, path: string, inode: string): MappedProgram | undefined {
  if (!systemPlace.test(path)) return undefined;
  try {
    using folder = openFolder(root);
    const file = openInRoot(folder, path.slice(1), OPEN.read | OPEN.nonBlocking | OPEN.noAtime);
    const { mode, uid, ino, size } = fstatSync(file.number, { bigint: true });
    const isRoots = uid === 0n && (mode & MODE_WRITE) === 0n && (mode & MODE_TYPE) === MODE_FILE;
    if (isRoots && `${ino}` === inode) return { path, bytes: Number(size), file };
    file.close();
  } catch {
    // It lies there no more, or cannot be read: it is not one that could be kept.
  }
  return undefined;
}

/** Adds what one process runs code of. */
async function mappedBy(pid: number, root: string, found: Map<string, MappedProgram>) {
  if (hangsInExec(pid)) return;
  await readProcLines(`/proc/${pid}/maps`, MAPS_BYTES_MAX, (lines) => {
    for (const { path, inode } of executedIn(lines)) {
      if (found.size >= FILES_MAX) return true;
      if (found.has(path)) continue;
      const below = root !== '/' && path.startsWith(`${root}/`);
      const one = opened(below ? root : '/', below ? path.slice(root.length) : path, inode);
      if (one !== undefined) found.set(path, { ...one, path });
    }
    return false;
  });
}

/**
 * The files that these processes run code of, as far as root alone can write them where packages lie, in the machine below `root` or in this
 * one. A process that has ended has none; of one with too many mappings to be told these are the first.
 */
export async function mappedPrograms(
  root: string,
  pids: readonly number[],
): Promise<MappedProgram[]> {
  const found = new Map<string, MappedProgram>();
  try {
    for (const pid of pids)
      await mappedBy(pid, root, found).catch((error: unknown) => {
        if (!failedWith(error, 'ENOENT', 'ESRCH', 'EFBIG')) throw error;
      });
  } catch (error) {
    for (const { file } of found.values()) file.close();
    throw error;
  }
  return [...found.values()];
}
