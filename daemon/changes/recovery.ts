import { PersonaError } from '../../ipc/errors.ts';
import { type Live, replay } from './live.ts';
import { failureOf, type RunnerParts } from './parts.ts';
import { run, settle } from './runner.ts';
import { isStuck, nextChange } from './status.ts';

/**
 * Brings every change that a crash cut off to an end, oldest first and one at a time: what had not
 * passed its point of no return is undone, the rest is finished. Stuck changes get one more try.
 * Returns all of them; those still open are stuck.
 */
export async function recover(parts: RunnerParts): Promise<Live[]> {
  const found: Live[] = [];
  for (const stored of await parts.journal.open()) {
    const live = replay(stored);
    found.push(live);
    parts.log.info({ changeId: live.id, kind: live.plan.kind, status: live.status }, 'recovering');
    await turnRound(live, parts);
    if (live.status === 'committed' || live.status === 'undoing') await run(live, parts);
    settle(live, parts);
  }
  return found;
}

/** Journals which way the change goes from here. */
async function turnRound(live: Live, parts: RunnerParts): Promise<void> {
  const error = failureOf(
    new PersonaError('change-aborted', { change: live.id, reason: 'the daemon stopped meanwhile' }),
  );
  if (live.status === 'queued') {
    live.status = nextChange(live.status, 'fail');
    live.error = error;
    await parts.journal.append({
      changeId: live.id,
      events: [{ step: 'fail' }],
      status: live.status,
      ended: { error },
    });
  } else if (live.status === 'doing') {
    live.status = nextChange(live.status, 'fail');
    live.error = error;
    await parts.journal.append({
      changeId: live.id,
      events: [{ step: 'fail' }],
      status: live.status,
      error,
    });
  } else if (isStuck(live.status)) {
    live.status = nextChange(live.status, 'continue');
    await parts.journal.append({
      changeId: live.id,
      events: [{ step: 'continue' }],
      status: live.status,
    });
  }
}
