import type { ChangeLine, ChangePage } from '../../ipc/methods/shapes.ts';
import { amount, bar, percent } from './bar.ts';
import { facts, indented } from './columns.ts';
import type { Output } from './output.ts';
import { joined, type Piece, type Safe, say } from './safe.ts';
import type { Style } from './style.ts';
import { ago, moment, withShortDigests } from './time.ts';

/** Status of a change as a coloured word. */
export function changeState(status: ChangeLine['status'], style: Style): Safe {
  const failed = status === 'failed' || status.startsWith('stuck');
  if (status === 'done') return style.green(status);
  if (failed) return style.red(status);
  return status === 'aborted' ? style.dim(status) : style.yellow(status);
}

/** One change on one line, with a bar while it runs; what is wrong with it on the same line. */
export function changeLineText(change: ChangeLine, out: Output, nowMs: number): Safe {
  const { id, summary, status, progress, error, createdMs } = change;
  const parts: Piece[] = [
    out.style.bold(say`#${id}`),
    say`${summary}`,
    changeState(status, out.style),
  ];
  if (progress?.total)
    parts.push(
      say`${out.style.cyan(bar(progress.done / progress.total, 16, out.unicode))} ${percent(progress.done / progress.total)}`,
    );
  if (progress) parts.push(amount(progress.done, progress.total, progress.unit));
  if (error) parts.push(out.style.red(error.message));
  if (status.startsWith('stuck')) parts.push(out.style.cyan(`personactl change continue ${id}`));
  parts.push(out.style.dim(ago(createdMs, nowMs)));
  return joined(parts, '  ');
}

const taskMarks = {
  waiting: ' ',
  doing: '>',
  done: '+',
  failed: 'x',
  undoing: '<',
  undone: '-',
} as const;

/** A change with its tasks. */
export function changePageLines(change: ChangePage, out: Output): Safe[] {
  const { id, kind, summary, status, ownerUid, createdMs, endedMs, error, holds, tasks } = change;
  const { style } = out;
  const paint = { failed: style.red, done: style.green, doing: style.yellow } as Partial<
    Record<keyof typeof taskMarks, Style['red']>
  >;
  const steps = tasks.map((task) => {
    const mark = (paint[task.status] ?? style.dim)(taskMarks[task.status]);
    const far = task.progress
      ? say`  ${amount(task.progress.done, task.progress.total, task.progress.unit)}`
      : '';
    return say`${mark} ${task.summary}  ${style.dim(task.status)}${far}`;
  });
  return [
    say`${style.bold(say`Change ${id}`)}  ${summary}`,
    ...indented(
      facts(
        [
          ['state', changeState(status, style)],
          ['kind', kind],
          ['owner', `uid ${ownerUid}`],
          ['begun', moment(createdMs)],
          ['ended', endedMs === undefined ? undefined : moment(endedMs)],
          ['holds', holds.length > 0 ? withShortDigests(holds.join(', ')) : undefined],
          ['error', error ? style.red(error.message) : undefined],
          ['fix', error?.hint],
        ],
        style,
      ),
    ),
    style.bold('Tasks'),
    ...indented(steps),
  ];
}
