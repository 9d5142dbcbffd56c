import type { AnyTask } from '../../changes/task.ts';
import type { VolumesRoom } from '../room.ts';
import { decideTask } from './decide.ts';
import { makeImageTask } from './make-image.ts';
import { removeImageTask } from './remove-image.ts';
import { showVolumeTask, takeOffTask } from './show-volume.ts';

/** The steps of all changes of volumes. */
export function volumeTasks(room: VolumesRoom): AnyTask[] {
  return [
    makeImageTask(room),
    showVolumeTask(room),
    takeOffTask(room),
    decideTask(),
    removeImageTask(room),
  ];
}
