import { processesOf, readKnob, writeKnob } from './cgroups.ts';
import { openNumber, signalProcess } from './processes.ts';

/** Rounds in which processes are ended one by one: more are forked meanwhile. */
const ROUNDS_MAX = 32;

/** Ends every process of a group: all at once where the kernel can (version 2), else one by one, until none is left that was seen. */
export async function killGroup(folder: string): Promise<void> {
  // A file that can only be written: its group has it or not.
  if (readKnob(folder, 'cgroup.events') !== undefined)
    return await writeKnob(folder, 'cgroup.kill', '1');
  const seen = new Set<number>();
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const left = processesOf(folder).filter((pid) => !seen.has(pid));
    if (left.length === 0) return;
    for (const pid of left) {
      seen.add(pid);
      using handle = openNumber(pid);
      // It may have left the group before, and its number name another one: who is in it now is asked for again.
      if (handle !== undefined && processesOf(folder).includes(pid))
        signalProcess(handle, 'SIGKILL');
    }
  }
}

/** Stops every process of a group until somebody lets it go on. False where groups cannot be (version 1). */
export async function freezeGroup(folder: string): Promise<boolean> {
  if (readKnob(folder, 'cgroup.freeze') === undefined) return false;
  await writeKnob(folder, 'cgroup.freeze', '1');
  return true;
}
