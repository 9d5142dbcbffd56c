import type { ServedPage } from '../../ipc/methods/shapes.ts';
import { formatDuration } from '../../ipc/values.ts';
import { type Safe, say } from './safe.ts';

/** Heads of the columns of applications that work in memory. */
export const servedTitles = ['APPLICATION', 'OWNER', 'STATE', 'INSTANCES', 'IN MEMORY ONLY'].map(
  (title) => ({ title }),
);

/** One application that works in memory. */
export function servedCells(page: ServedPage, nowMs: number): Safe[] {
  const { app, owner, state, instances, savedMs } = page;
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
