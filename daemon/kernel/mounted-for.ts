import { failedWith } from './errno.ts';
import { MountNamespaces } from './mount-namespaces.ts';
import { MOUNTS_BYTES_MAX, parseMountinfo } from './mountinfo.ts';
import { PacedLook } from './paced-look.ts';
import { processIds } from './process-ids.ts';
import { isNobody, type ProcessId, statOf, UNTOLD } from './processes.ts';

/** Looks for processes that were forked meanwhile: on a busy machine there are always some. */
const LOOKS_MAX = 8;
/** A look that is not over by then is given up: what was not looked at could not be told. */
const LOOK_MS = 10_000;

/** Whether a mount namespace has a folder of the file system mounted by itself, seen through one of its processes. */
async function hasFolder(pid: number, device: string, look: PacedLook) {
  let has: boolean | 'unsure' = false;
  try {
    await look.lines(`/proc/${pid}/mountinfo`, MOUNTS_BYTES_MAX, (lines) => {
      has = parseMountinfo(lines).some((line) => line.device === device && line.root !== '/');
      return has;
    });
    return has;
  } catch (error) {
    if (isNobody(error)) throw error;
    return 'unsure';
  }
}

/**
 * Processes in whose mount namespaces a folder of the file system `device` (major:minor) is mounted by itself, whatever control group they
 * are in. The namespace of this process is not looked at. One that is too long to be read counts for processes of `owner`, whose folder
 * it is: nobody else can hold up by it what is done for him.
 */
export async function mountedFor(device: string, owner: number): Promise<ProcessId[]> {
  using look = new PacedLook(LOOK_MS);
  const namespaces = new MountNamespaces<boolean | 'unsure'>(false, (pid) =>
    hasFolder(pid, device, look),
  );
  const found: ProcessId[] = [];
  const looked = new Set<number>();
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    // What forks and ends is not to be missed with what it has forked.
    const more = processIds().filter((pid) => !looked.has(pid));
    if (more.length === 0) break;
    for (const pid of more) looked.add(pid);
    await look.each(more, async (pid) => {
      // One that does not hang, and fails, has ended meanwhile.
      const has = await namespaces
        .of(pid)
        .catch((error: unknown) => failedWith(error, 'ETIMEDOUT') && ('unsure' as const));
      const stat = has === false ? undefined : statOf({ pid, startTime: UNTOLD });
      if (stat === undefined || (has === 'unsure' && stat.uid !== owner)) return;
      found.push({ pid: stat.pid, startTime: stat.startTime });
    });
  }
  return found;
}
