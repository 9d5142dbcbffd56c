import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { parseMountinfo } from './mountinfo.ts';
import { type ProcessId, processStat } from './processes.ts';

/** Processes looked at before the event loop gets its turn. */
const SLICE = 32;
/** Looks for processes that were forked meanwhile: on a busy machine there are always some. */
const LOOKS_MAX = 8;

/** Tells of a process whether its mount namespace has a folder of the file system mounted by itself. Looks at each namespace once. */
function namespacesWith(device: string): (pid: string) => boolean {
  const seen = new Map<string, boolean>([[readlinkSync('/proc/self/ns/mnt'), false]]);
  return (pid) => {
    const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
    let hasIt = seen.get(namespace);
    if (hasIt === undefined) {
      const lines = parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
      hasIt = lines.some((line) => line.device === device && line.root !== '/');
      seen.set(namespace, hasIt);
    }
    return hasIt;
  };
}

/**
 * Processes in whose mount namespaces a folder of the file system `device` (major:minor) is mounted by itself, whatever control group they
 * are in. The namespace of this process is not looked at.
 */
export async function mountedFor(device: string): Promise<ProcessId[]> {
  const hasIt = namespacesWith(device);
  const found: ProcessId[] = [];
  const looked = new Set<string>();
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    // What forks and ends is not to be missed with what it has forked.
    const more = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !looked.has(name));
    if (more.length === 0) break;
    for (const pid of more) {
      looked.add(pid);
      if (looked.size % SLICE === 0) await turn();
      try {
        if (!hasIt(pid)) continue;
      } catch {
        continue; // it has ended meanwhile
      }
      const stat = processStat(Number(pid));
      if (stat !== undefined) found.push({ pid: stat.pid, startTime: stat.startTime });
    }
  }
  return found;
}
