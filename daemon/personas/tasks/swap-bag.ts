import type { TaskContext } from '../../changes/task.ts';
import type { Target } from '../generation.ts';
import type { Generation, Upper } from '../slot-rows.ts';
import type { Tree } from '../tree.ts';

/** What the tasks of one swap hand on in memory; all of it can be made again from the rows. */
export interface SwapBag {
  startedMs: number;
  preparedMs: number;
  committedMs?: number;
  flipMs?: number;
  target: Target;
  tree: Tree;
  /** What was committed, until the tree is shown. */
  committed?: { generation: Generation; upper: Upper };
}

const KEY = 'slots.swap';

/** What the change has prepared in this process; undefined after a restart. */
export function bagOf(context: TaskContext): SwapBag | undefined {
  return context.live.get(KEY) as SwapBag | undefined;
}

export function putBag(context: TaskContext, bag: SwapBag): void {
  context.live.set(KEY, bag);
}

/** The tree has another owner from here on. */
export function dropBag(context: TaskContext): void {
  context.live.delete(KEY);
}
