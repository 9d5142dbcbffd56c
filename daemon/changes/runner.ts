import { goForward } from './forward.ts';
import { type Live, resultOf, tell } from './live.ts';
import { failureOf, type RunnerParts } from './parts.ts';
import { isEnded, isStuck } from './status.ts';
import { goBack } from './unwind.ts';

/** A line of the log is written this much after the answer: writing it takes longer than the flip of a swap. */
const logDelayMs = 2;

/**
 * Runs the change until it has ended or is stuck; never throws. Expects a change that is `doing` (its
 * first tasks declared), `committed` or `undoing`.
 */
export async function run(live: Live, parts: RunnerParts): Promise<void> {
  try {
    if (live.status === 'doing' || live.status === 'committed') await goForward(live, parts);
    if (live.status === 'undoing') await goBack(live, parts);
  } catch (error) {
    // The journal itself failed: nothing more is done, what is held stays held, a restart recovers.
    live.error = failureOf(error);
    parts.log.error(
      { changeId: live.id, err: error },
      'cannot write the journal; the change rests',
    );
    parts.broken(error);
  }
}

/** Tells everyone how the change ended, or where it rests. The queue calls it once the holds are free. */
export function settle(live: Live, parts: RunnerParts): void {
  const { error, result, status } = live;
  if (isEnded(status) || isStuck(status)) {
    // Whoever gets the answer is woken on our processor and waits there until we sleep.
    setTimeout(
      () => parts.log.info({ changeId: live.id, kind: live.plan.kind, status }, 'change ended'),
      logDelayMs,
    );
    tell(live, {
      ...(error === undefined ? {} : { error }),
      ...(result === undefined ? {} : { result }),
    });
  }
  live.ended.resolve(resultOf(live));
}
