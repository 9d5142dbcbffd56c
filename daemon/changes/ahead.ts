import { setImmediate as turn } from 'node:timers/promises';
import { withDeadline } from './attempt.ts';
import type { Live } from './live.ts';
import type { RunnerParts } from './parts.ts';
import type { Json, Outcome } from './task.ts';

/** Runs the `do` of a task within its deadline. */
export async function doWork(
  live: Live,
  index: number,
  parts: RunnerParts,
): Promise<Outcome<Json> | undefined> {
  const { kind, params } = live.tasks[index]!.spec;
  const given = await withDeadline(live, index, parts, (context) =>
    parts.kinds.get(kind).do(context, params),
  );
  return given ?? undefined;
}

/**
 * Begins a first task whose effect dies with the process while the intent is being written: a crash leaves as much of it
 * as one a moment later would. Returns at once, and the intent is on its way to the disk first.
 */
export function goAhead(live: Live, parts: RunnerParts): void {
  const [first] = live.tasks;
  if (first === undefined || parts.kinds.get(first.spec.kind).ephemeral !== true) return;
  first.here = true;
  live.ahead = turn().then(() => doWork(live, 0, parts));
  live.ahead.catch(() => undefined); // whoever takes it hears of it
}

/** What was begun ahead of the task at `index`; the caller waits for it in place of beginning it. */
export function takeAhead(live: Live, index: number): Live['ahead'] {
  if (index !== 0) return undefined;
  const { ahead } = live;
  delete live.ahead;
  return ahead;
}

/** Takes back what was begun ahead of an intent that could not be written. Never rejects. */
export async function dropAhead(live: Live, parts: RunnerParts): Promise<void> {
  const ahead = takeAhead(live, 0);
  if (ahead === undefined) return;
  const { kind, params } = live.tasks[0]!.spec;
  const { undo } = parts.kinds.get(kind);
  try {
    await ahead.catch(() => undefined);
    if (undo !== 'nothing-to-undo')
      await withDeadline(live, 0, parts, (context) => undo(context, params, undefined));
  } catch (err) {
    parts.log.warn({ changeId: live.id, err }, 'cannot take back what was begun, ignoring');
  }
}
