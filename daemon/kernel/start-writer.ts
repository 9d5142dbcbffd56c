import { callerLimits, startLimited } from './as-caller.ts';
import type { Child } from './exec.ts';
import type { Fd } from './fd.ts';
import { fileChannel } from './passed-files.ts';
import { programFile } from './program-files.ts';

/** It stays as long as the program whose data it keeps: what is asked of it has deadlines of its own. */
const LIFE_MS = 2 ** 31 - 1;
const limits = { ...callerLimits, memoryBytes: 2 * 1024 ** 3, cpuSeconds: 24 * 3600 };

/**
 * Starts the program that works on a user's folders. It starts as root, drops to the user, and only then opens anything. Its descriptor 3 is
 * the other end of `channel`: through it, it gets open files that it may not open itself.
 */
export async function startWriter(uid: number): Promise<{ child: Child; channel: Fd }> {
  const [channel, end] = fileChannel();
  try {
    const child = await startLimited([process.execPath, '--no-warnings', programFile('writer')], {
      deadlineMs: LIFE_MS,
      limits,
      name: `writer-${uid}`,
      input: true,
      fds: [end.number],
    });
    return { child, channel };
  } catch (error) {
    channel.close();
    throw error;
  } finally {
    end.close();
  }
}
