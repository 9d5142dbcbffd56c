import { type AnyTask, defineTask } from '../../changes/task.ts';
import type { VolumesRoom } from '../room.ts';
import type { Volume } from '../volume.ts';

/** Mounts a volume where programs see it. */
export function showVolumeTask(room: VolumesRoom): AnyTask {
  return defineTask<{ volume: Volume }>({
    kind: 'volumes.show',
    summary: ({ volume }) => `mount the volume ${volume.name} at ${room.places(volume.name).at}`,
    do: (_context, { volume }) => room.bringUp(volume),
    forward: true,
    undo: 'nothing-to-undo',
  });
}

/** Takes a volume off; back when the change fails. */
export function takeOffTask(room: VolumesRoom): AnyTask {
  return defineTask<{ volume: Volume }>({
    kind: 'volumes.take-off',
    summary: ({ volume }) => `take the volume ${volume.name} off`,
    async do(_context, { volume }) {
      await room.checkUnheld(volume.name); // something may have been made in it meanwhile
      await room.takeDown(volume.name);
    },
    undo: (_context, { volume }) => room.bringUp(volume),
  });
}
