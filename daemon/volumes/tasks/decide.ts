import { type AnyTask, defineTask } from '../../changes/task.ts';
import type { VolumeName } from '../volume.ts';

/** Commits to what the tasks behind it do: from here on the change is finished, never undone. */
export function decideTask(): AnyTask {
  return defineTask<{ name: VolumeName; what: string }>({
    kind: 'volumes.decide',
    summary: ({ what }) => `decide to ${what}`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    do: async () => undefined,
  });
}
