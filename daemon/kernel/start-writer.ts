import { callerLimits, startLimited } from './as-caller.ts';
import type { Child } from './exec.ts';
import { type FreezeFiles, Freezer } from './freezer.ts';
import { programFile } from './program-files.ts';

/** It stays as long as the program whose data it keeps: what is asked of it has deadlines of its own. */
const LIFE_MS = 2 ** 31 - 1;
const limits = { ...callerLimits, memoryBytes: 2 * 1024 ** 3, cpuSeconds: 24 * 3600 };

/**
 * Starts the program that works on a user's folders. It starts as root, drops to the user, and only then opens anything. With `freeze` it gets
 * the open files of that group as 3 and 4; they are opened by root, so that it may stop this group and no other.
 */
export async function startWriter(uid: number, freeze?: FreezeFiles): Promise<Child> {
  const held = freeze === undefined ? [] : Freezer.files(freeze);
  try {
    return await startLimited([process.execPath, '--no-warnings', programFile('writer')], {
      deadlineMs: LIFE_MS,
      limits,
      name: `writer-${uid}`,
      input: true,
      fds: held.map((one) => one.number),
    });
  } finally {
    for (const one of held) one.close();
  }
}
