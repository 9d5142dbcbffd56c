import { startAsCaller } from './as-caller.ts';
import type { Child } from './exec.ts';
import { programFile } from './program-files.ts';

const IONICE = '/usr/bin/ionice';
const NICE = '/usr/bin/nice';
const SLOWEST = 19;
const IDLE_CLASS = 3;

/** What the scrubber reads: whole files of ours. */
export interface ScrubTask {
  /** 0: as fast as it goes. */
  bytesPerSecond: number;
  files: readonly { path: string; bytes: number }[];
}

/** What the scrubber says of `files[file]`: how far it is, what its digest is, or what is wrong with it. */
export type ScrubLine =
  | { file: number; done: number }
  | { file: number; digest: string }
  | { file: number; problem: string };

/**
 * Starts the program that hashes files, behind all others: what it reads waits until no one else reads, and it has the lowest
 * priority. Where that may not be set it runs all the same. It dies with the daemon.
 */
export async function startScrubber(task: ScrubTask, deadlineMs: number): Promise<Child> {
  const child = await startAsCaller({
    argv: [
      ...[IONICE, '-t', '-c', String(IDLE_CLASS), NICE, '-n', String(SLOWEST)],
      ...[process.execPath, '--no-warnings', programFile('scrubber')],
    ],
    caller: { uid: 0, gid: 0, groups: [] },
    deadlineMs,
    input: true,
  });
  child.stdin?.end(JSON.stringify(task));
  return child;
}
