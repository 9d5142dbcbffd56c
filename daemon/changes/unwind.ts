import { PersonaError, toWire } from '../../ipc/errors.ts';
import { withDeadline } from './attempt.ts';
import type { JournalEvent } from './journal.ts';
import { type Live, tellTask } from './live.ts';
import { append, failureOf, JournalFailure, type RunnerParts, stick } from './parts.ts';
import { type ChangeStep, nextChange, nextTask } from './status.ts';
import type { Json, Outcome } from './task.ts';

/** Undoes the tasks, last first; a failed undo leaves the change stuck. */
export async function goBack(live: Live, parts: RunnerParts): Promise<void> {
  for (let index = live.tasks.length - 1; index >= 0; index--) {
    const task = live.tasks[index]!;
    if (task.status === 'waiting' && !task.declared) continue;
    if (task.status === 'undone') continue;
    try {
      await undoTask(live, index, parts);
    } catch (error) {
      if (error instanceof JournalFailure) throw error.cause;
      const { message } = toWire(error);
      live.error = failureOf(
        new PersonaError('change-stuck', { change: live.id, reason: message }),
        index,
      );
      parts.log.error({ changeId: live.id, task: task.spec.kind, err: error }, 'undo failed');
      await stick(live, parts);
      return;
    }
  }
  const step: ChangeStep = live.abortAsked ? 'unwound-aborted' : 'unwound-failed';
  live.endedMs = parts.now();
  const status = nextChange(live.status, step);
  await parts.journal.append({
    changeId: live.id,
    events: [{ step }],
    status,
    ended: { error: live.error },
  });
  live.status = status;
}

async function undoTask(live: Live, index: number, parts: RunnerParts): Promise<void> {
  const task = live.tasks[index]!;
  const kind = parts.kinds.get(task.spec.kind);
  if (task.status === 'waiting') task.status = nextTask(task.status, 'start');
  const before: JournalEvent[] = [{ task: index, step: 'undo' }];
  task.status = nextTask(task.status, 'undo');
  tellTask(live, index, parts.kinds);
  let record: Outcome<Json>['record'];
  const undo = kind.undo;
  // The effect of an ephemeral task died with the process that made it.
  const gone = kind.ephemeral && !task.here;
  if (undo !== 'nothing-to-undo' && !gone) {
    await parts.faults.at(`undo:${kind.kind}`);
    const outcome = await withDeadline(live, index, parts, (context) =>
      undo(context, task.spec.params, task.saved),
    );
    await parts.faults.at(`undid:${kind.kind}`);
    record = outcome?.record;
  }
  const events = [...before, { task: index, step: 'undone' as const }];
  await append(parts.journal, { changeId: live.id, events, record });
  task.status = nextTask(task.status, 'undone');
  tellTask(live, index, parts.kinds);
}
