import { type Caller, callerLimits, startLimited } from './as-caller.ts';
import type { Child } from './exec.ts';
import { programFile } from './program-files.ts';

/** What the surveyor is told. */
export interface SurveyTask {
  /** As whom it reads. */
  caller: Caller;
  /** The folder that stands for the root of the machine, and this project's own trees. */
  machine: string;
  share: string;
  etc: string;
  /** Whose files those of this project must be. */
  owner: number;
  /** Read what this user says, below his home (relative to the machine's root), instead of what the machine says. */
  user?: { uid: number; home: string };
  /** Further programs whose files are to be known. */
  paths: readonly string[];
}

const limits = { ...callerLimits, memoryBytes: 512 << 20, cpuSeconds: 20, fileBytes: 0 };

/**
 * Starts the program that reads what is known of applications. It drops all rights before it reads, and dies with the daemon. Its
 * standard output is one JSON object in a line for each piece of a survey; it is the word of `caller`.
 */
export async function startSurveyor(task: SurveyTask, deadlineMs: number): Promise<Child> {
  const child = await startLimited([process.execPath, '--no-warnings', programFile('surveyor')], {
    deadlineMs,
    limits,
    name: `surveyor-${task.caller.uid}`,
    input: true,
  });
  child.stdin?.end(JSON.stringify(task));
  return child;
}
