import { readStatusField } from './process-status.ts';

/** Of a longer line of processes the rest is not looked at: a user makes it as long as he likes. */
const DEPTH_MAX = 256;

/** The process that started this one, or took its place when that ended; undefined when it has ended. */
function parentOf(pid: number): number | undefined {
  try {
    return Number(readStatusField(pid, 'PPid'));
  } catch {
    return undefined;
  }
}

/** A process, and all that started it: its shell, its terminal, and so on. */
export function withAncestors(pid: number): number[] {
  const line: number[] = [];
  for (let one: number | undefined = pid; one && line.length < DEPTH_MAX; one = parentOf(one))
    line.push(one);
  return line;
}
