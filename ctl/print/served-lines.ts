import type { ServedPage } from '../../ipc/methods/shapes.ts';
import { formatDuration } from '../../ipc/values.ts';
import { columns } from './columns.ts';
import type { Output } from './output.ts';
import { remark } from './remark.ts';
import { type Safe, say } from './safe.ts';

const titles = ['APPLICATION', 'OWNER', 'STATE', 'INSTANCES', 'IN MEMORY ONLY'].map((title) => ({
  title,
}));

function cells({ app, owner, state, instances, savedMs }: ServedPage, nowMs: number): Safe[] {
  const age = formatDuration(Math.max(0, nowMs - savedMs));
  const unsaved = state === 'serving' || state === 'ending' ? `the last ${age}` : 'nothing';
  return [
    say`${app}`,
    say`${owner.name ?? owner.uid}`,
    say`${state}`,
    say`${instances}`,
    say`${unsaved}`,
  ];
}

/** Applications that work in memory, and below them what is wrong with any. */
export function servedLines(all: readonly ServedPage[], out: Output, nowMs: number): Safe[] {
  const rows = all.map((one) => cells(one, nowMs));
  const remarks = all.flatMap(({ app, problem, shortage }) =>
    [problem, shortage].flatMap((text) =>
      text === undefined ? [] : remark(say`${app}: `, text, out),
    ),
  );
  return [...columns(titles, rows, out.style), ...remarks];
}
