import test from 'ava';
import {
  changeStatuses,
  changeSteps,
  nextChange,
  nextTask,
  taskStatuses,
  taskSteps,
} from '../../../daemon/changes/status.ts';

const legalChanges: Record<string, string> = {
  'queued start': 'doing',
  'queued abort': 'aborted',
  'queued fail': 'failed',
  'doing commit': 'committed',
  'doing finish': 'done',
  'doing fail': 'undoing',
  'doing abort': 'undoing',
  'committed finish': 'done',
  'committed stick': 'stuck-committed',
  'undoing unwound-failed': 'failed',
  'undoing unwound-aborted': 'aborted',
  'undoing stick': 'stuck-undoing',
  'stuck-undoing continue': 'undoing',
  'stuck-committed continue': 'committed',
};

const legalTasks: Record<string, string> = {
  'waiting start': 'doing',
  'doing start': 'doing',
  'doing finish': 'done',
  'doing fail': 'failed',
  'doing undo': 'undoing',
  'done undo': 'undoing',
  'failed start': 'doing',
  'failed undo': 'undoing',
  'undoing undo': 'undoing',
  'undoing undone': 'undone',
};

function cells<S extends string, E extends string>(
  statuses: readonly S[],
  steps: readonly E[],
): [S, E][] {
  return statuses.flatMap((status) => steps.map((step): [S, E] => [status, step]));
}

test('every cell of the table of changes', (t) => {
  for (const [status, step] of cells(changeStatuses, changeSteps)) {
    const wanted = legalChanges[`${status} ${step}`];
    if (wanted === undefined) t.throws(() => nextChange(status, step), { message: /illegal/ });
    else t.is(nextChange(status, step), wanted as never, `${status} ${step}`);
  }
});

test('every cell of the table of tasks', (t) => {
  for (const [status, step] of cells(taskStatuses, taskSteps)) {
    const wanted = legalTasks[`${status} ${step}`];
    if (wanted === undefined) t.throws(() => nextTask(status, step), { message: /illegal/ });
    else t.is(nextTask(status, step), wanted as never, `${status} ${step}`);
  }
});
