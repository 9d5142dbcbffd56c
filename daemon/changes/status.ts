import { PersonaError } from '../../ipc/errors.ts';

/**
 * Where a change is.
 * - `queued`: accepted and journalled, waits for what it holds. Nothing has been done.
 * - `doing`: its tasks run; a failure, an abort or a crash leads back to the first state.
 * - `committed`: the point of no return is durable; from here recovery only goes forward.
 * - `undoing`: tasks are undone, last first.
 * - `done`, `failed`, `aborted`: ended. The latter two left nothing behind.
 * - `stuck-undoing`, `stuck-committed`: an undo (or a step after the point of no return) failed;
 *   what it holds stays held until someone continues it.
 */
export type ChangeStatus = (typeof changeStatuses)[number];
export const changeStatuses = [
  'queued',
  'doing',
  'committed',
  'undoing',
  'done',
  'failed',
  'aborted',
  'stuck-undoing',
  'stuck-committed',
] as const;

/** What can happen to a change. */
export type ChangeStep = (typeof changeSteps)[number];
export const changeSteps = [
  'start',
  'commit',
  'finish',
  'fail',
  'abort',
  'unwound-failed',
  'unwound-aborted',
  'stick',
  'continue',
] as const;

/** Where a task is. `failed` tasks are undone too: `undo` is safe after any part of `do`. */
export type TaskStatus = (typeof taskStatuses)[number];
export const taskStatuses = ['waiting', 'doing', 'done', 'failed', 'undoing', 'undone'] as const;

/** What can happen to a task. `start` repeats after a crash; `undo` repeats after a failed undo. */
export type TaskStep = (typeof taskSteps)[number];
export const taskSteps = ['start', 'finish', 'fail', 'undo', 'undone'] as const;

type Table<S extends string, E extends string> = Readonly<Record<S, Partial<Record<E, S>>>>;

/** Every legal step of a change. What is not here is a bug of ours. */
const changeTable: Table<ChangeStatus, ChangeStep> = {
  queued: { start: 'doing', abort: 'aborted', fail: 'failed' },
  doing: { commit: 'committed', finish: 'done', fail: 'undoing', abort: 'undoing' },
  committed: { finish: 'done', stick: 'stuck-committed' },
  undoing: {
    'unwound-failed': 'failed',
    'unwound-aborted': 'aborted',
    stick: 'stuck-undoing',
  },
  done: {},
  failed: {},
  aborted: {},
  'stuck-undoing': { continue: 'undoing' },
  'stuck-committed': { continue: 'committed' },
};

/** Every legal step of a task. */
const taskTable: Table<TaskStatus, TaskStep> = {
  waiting: { start: 'doing' },
  doing: { start: 'doing', finish: 'done', fail: 'failed', undo: 'undoing' },
  done: { undo: 'undoing' },
  failed: { start: 'doing', undo: 'undoing' },
  undoing: { undo: 'undoing', undone: 'undone' },
  undone: {},
};

function step<S extends string, E extends string>(table: Table<S, E>, from: S, by: E): S {
  const to = table[from][by];
  if (to === undefined)
    throw new PersonaError('internal', `illegal transition: ${from} does not allow ${by}`);
  return to;
}

/** The status of a change after `by`; a step that is not in the table throws. */
export function nextChange(from: ChangeStatus, by: ChangeStep): ChangeStatus {
  return step(changeTable, from, by);
}

/** The status of a task after `by`; a step that is not in the table throws. */
export function nextTask(from: TaskStatus, by: TaskStep): TaskStatus {
  return step(taskTable, from, by);
}

/** True when nothing more will happen to the change by itself or by command. */
export function isEnded(status: ChangeStatus): boolean {
  return status === 'done' || status === 'failed' || status === 'aborted';
}

/** True when the change waits for someone to continue it. */
export function isStuck(status: ChangeStatus): boolean {
  return status === 'stuck-undoing' || status === 'stuck-committed';
}
