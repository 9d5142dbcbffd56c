import type { PlanView } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import { type Safe, say } from './safe.ts';
import type { Style } from './style.ts';
import { withShortDigests } from './time.ts';

const afterFailure = {
  undone: 'undone after a failure',
  nothing: 'leaves nothing behind',
  forward: 'after the point of no return: repeated until it succeeds',
} as const;

/** What a change would do, step by step. */
export function planLines(plan: PlanView, style: Style): Safe[] {
  const lines = [say`${style.bold('Would do:')} ${plan.summary}`];
  const digits = String(plan.tasks.length).length;
  for (const [index, task] of plan.tasks.entries()) {
    const number = String(index + 1).padStart(digits);
    lines.push(say`  ${number}. ${task.summary}  ${style.dim(afterFailure[task.undo])}`);
  }
  if (plan.holds.length > 0) lines.push(say`Holds: ${withShortDigests(plan.holds.join(', '))}`);
  if (plan.needs.bytes > 0) lines.push(say`Needs: ${formatSize(plan.needs.bytes)} of free space`);
  lines.push(style.dim('Nothing was done.'));
  return lines;
}
