import { PersonaError, toWire } from '../../ipc/errors.ts';
import type { ChangeLimits } from '../config/limits.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Failure } from './change.ts';
import type { Faults } from './faults.ts';
import type { Entry, Journal } from './journal.ts';
import type { Kinds } from './kinds.ts';
import type { Live } from './live.ts';
import type { Log } from './log.ts';
import { nextChange } from './status.ts';

/** What the runner needs from outside. */
export interface RunnerParts {
  kinds: Kinds;
  journal: Journal;
  faults: Faults;
  log: Log;
  limits: ChangeLimits;
  /** Milliseconds since 1970. */
  now(): number;
  /** Called when the journal cannot be written: from then on the daemon takes no changes. */
  broken(error: unknown): void;
}

/** A task that did not end in time, though told to. */
export class Hung extends Error {}

/** A full disk is no fault of ours, wherever it shows. */
function sayable(error: unknown): unknown {
  if (!failedWith(error, 'ENOSPC', 'EDQUOT', 'SQLITE_FULL')) return error;
  const facts = { needed: 'more', free: 'too little', path: 'the state tree' };
  return new PersonaError('no-space', facts, { cause: error });
}

/** The error as the journal keeps it. */
export function failureOf(error: unknown, task?: number): Failure {
  const { code, message, hint } = toWire(sayable(error));
  return { code, message, hint, ...(task === undefined ? {} : { task }) };
}

/** Marks a failed write of the journal, which is no failure of the task. */
export class JournalFailure extends Error {}

/**
 * Journals what recovery would find again. What could not be written that way is written once more by itself, behind what came before it.
 * When that fails, too, the next start repeats the task: until then no change may make anew what it removes.
 */
export function soon(live: Live, parts: RunnerParts, entry: Entry): void {
  const earlier = live.journalled;
  live.journalled = parts.journal.appendSoon(entry).catch(async () => {
    await earlier;
    await parts.journal.append(entry);
  });
  live.journalled.catch(parts.broken);
}

/** Journals `entry`; tells a failing journal from rows of the task that break a rule. */
export async function append(journal: Journal, entry: Entry): Promise<void> {
  try {
    await journal.append(entry);
  } catch (cause) {
    if (entry.record !== undefined && isOfRows(cause)) throw cause;
    throw new JournalFailure('', { cause });
  }
}

/** A room's own rows may break a constraint or fail to build: the task's failure, which can be undone. */
function isOfRows(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code);
  return /^SQLITE_(CONSTRAINT|ERROR|MISMATCH)/.test(code) || !code.includes('SQLITE');
}

/** Stops the change where it is: what it holds stays held until someone continues it. */
export async function stick(live: Live, parts: RunnerParts): Promise<void> {
  live.status = nextChange(live.status, 'stick');
  await parts.journal.append({
    changeId: live.id,
    events: [{ step: 'stick' }],
    status: live.status,
    error: live.error,
  });
}
