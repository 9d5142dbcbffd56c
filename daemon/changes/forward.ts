import { PersonaError } from '../../ipc/errors.ts';
import { withDeadline } from './attempt.ts';
import { checkedValue, type JournalEvent } from './journal.ts';
import type { Kinds } from './kinds.ts';
import { type Live, type LiveTask, tell, tellTask } from './live.ts';
import { append, failureOf, Hung, JournalFailure, type RunnerParts, soon, stick } from './parts.ts';
import { type ChangeStep, nextChange, nextTask } from './status.ts';
import type { Json, Outcome } from './task.ts';

/** The lines that declare the tasks from `from` to the next one with a durable effect. */
export function declare(live: Live, from: number, kinds: Kinds): JournalEvent[] {
  const events: JournalEvent[] = [];
  for (let index = from; index < live.tasks.length; index++) {
    const task = live.tasks[index]!;
    const kind = kinds.get(task.spec.kind);
    if (kind.forward || task.declared) break;
    task.declared = true;
    events.push({ task: index, step: 'start' });
    if (!kind.ephemeral) break;
  }
  return events;
}

/**
 * True when nothing outlives the machine's memory before the next commit: then the intent may be written with that one.
 * Without power in between, neither is there, and nothing happened.
 */
export function writtenWithNext(live: Live, kinds: Kinds): boolean {
  const lasting = live.tasks.find(({ spec }) => !kinds.get(spec.kind).ephemeral);
  return lasting !== undefined && kinds.get(lasting.spec.kind).rowsOnly === true;
}

/** Runs the tasks in order; before the point of no return a failure turns the change round. */
export async function goForward(live: Live, parts: RunnerParts): Promise<void> {
  for (let index = 0; index < live.tasks.length; index++) {
    const task = live.tasks[index]!;
    if (task.status === 'done') continue;
    try {
      // Committed: what came before the point of no return is recorded and never repeated.
      const forward = parts.kinds.get(task.spec.kind).forward === true;
      if (live.status === 'committed' && !forward) continue;
      if (live.abortAsked && live.status === 'doing') throw new PersonaError('cancelled');
      await doTask(live, index, parts);
    } catch (error) {
      if (error instanceof JournalFailure) throw error.cause;
      await failed(live, index, error, parts);
      return;
    }
  }
  if (live.abortAsked && live.status === 'doing') {
    await failed(live, live.tasks.length - 1, new PersonaError('cancelled'), parts);
    return;
  }
  delete live.error;
  live.endedMs = parts.now();
  const wasCommitted = live.status === 'committed';
  live.status = nextChange(live.status, 'finish');
  const entry = {
    changeId: live.id,
    events: [{ step: 'finish' as const }],
    status: live.status,
    ended: { result: live.result },
  };
  // After the point of no return the outcome is durable already; recovery would only close it again.
  if (wasCommitted) soon(live, parts, entry);
  else await parts.journal.append(entry);
}

async function doTask(live: Live, index: number, parts: RunnerParts): Promise<void> {
  const { kinds, journal } = parts;
  const task = live.tasks[index]!;
  const kind = kinds.get(task.spec.kind);
  const missing = declare(live, index, kinds);
  if (missing.length > 0) await append(journal, { changeId: live.id, events: missing });
  task.status = nextTask(task.status, 'start');
  task.here = true;
  tellTask(live, index, kinds);
  await parts.faults.at(`do:${kind.kind}`);
  const given = await withDeadline(live, index, parts, (context) =>
    kind.do(context, task.spec.params),
  );
  const outcome = given ?? {};
  await parts.faults.at(`did:${kind.kind}`);
  if (kind.ephemeral) finishInMemory(live, task, outcome, parts);
  else await finish(live, index, outcome, parts);
  delete task.progress;
  tellTask(live, index, kinds);
}

function finishInMemory(
  live: Live,
  task: LiveTask,
  outcome: Outcome<Json>,
  parts: RunnerParts,
): void {
  keep(live, task, outcome, parts);
  task.status = nextTask(task.status, 'finish');
}

/** Keeps what a task hands over. Returns its answer where that is to be journalled. */
function keep(
  live: Live,
  task: LiveTask,
  outcome: Outcome<Json>,
  parts: RunnerParts,
): Json | undefined {
  const max = parts.limits.journalValueBytesMax;
  if (outcome.saved !== undefined) task.saved = checkedValue(outcome.saved, 'a saved value', max);
  if (outcome.result === undefined) return undefined;
  try {
    live.result = checkedValue(outcome.result, 'a result', max);
    return live.result;
  } catch (err) {
    // Repeated it would be too large again: the change would stay stuck, and what it holds be held, for ever.
    if (parts.kinds.get(task.spec.kind).forward !== true) throw err;
    parts.log.warn({ changeId: live.id, task: task.spec.kind, err }, 'an answer is left out');
    return undefined;
  }
}

/** Commits the task's own rows and its `finish` in one transaction, with what declares the next ones. */
async function finish(
  live: Live,
  index: number,
  outcome: Outcome<Json>,
  parts: RunnerParts,
): Promise<void> {
  const task = live.tasks[index]!;
  const kind = parts.kinds.get(task.spec.kind);
  const result = keep(live, task, outcome, parts);
  const done: JournalEvent = {
    task: index,
    step: 'finish',
    ...(task.saved === undefined ? {} : { detail: task.saved }),
  };
  const events =
    kind.forward && !task.declared ? [{ task: index, step: 'start' as const }, done] : [done];
  if (kind.forward) {
    soon(live, parts, {
      changeId: live.id,
      events,
      result,
      record: outcome.record,
    });
  } else if (kind.pointOfNoReturn) {
    const status = nextChange(live.status, 'commit');
    events.push({ step: 'commit' });
    await append(parts.journal, {
      changeId: live.id,
      events,
      status,
      result,
      record: outcome.record,
    });
    live.status = status;
  } else {
    events.push(...declare(live, index + 1, parts.kinds));
    await append(parts.journal, {
      changeId: live.id,
      events,
      result,
      record: outcome.record,
    });
  }
  task.declared = true;
  task.status = nextTask(task.status, 'finish');
}

/** Journals a failure before anything is undone: what is not durable here did not happen. */
async function failed(
  live: Live,
  index: number,
  error: unknown,
  parts: RunnerParts,
): Promise<void> {
  const task = live.tasks[index]!;
  const aborted = live.abortAsked && live.status === 'doing';
  const cause = aborted ? new PersonaError('change-aborted', { change: live.id }) : error;
  const failure = failureOf(cause, index);
  live.error = failure;
  parts.log.warn({ changeId: live.id, task: task.spec.kind, err: error }, 'task failed');
  if (live.status === 'committed') {
    await stick(live, parts);
    return;
  }
  const events: JournalEvent[] = [];
  if (task.status === 'doing') {
    task.status = nextTask(task.status, 'fail');
    events.push({ task: index, step: 'fail' });
  }
  const step: ChangeStep = aborted ? 'abort' : 'fail';
  live.status = nextChange(live.status, step);
  events.push({ step });
  await parts.journal.append({
    changeId: live.id,
    events,
    status: live.status,
    error: failure,
  });
  if (error instanceof Hung) await stick(live, parts);
  else tell(live, { error: failure });
}
