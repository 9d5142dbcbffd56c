import type { AnyTask } from '../../changes/task.ts';
import type { VolumesRoom } from '../room.ts';
import { decideTask } from './decide.ts';
import { releaseBallastTask, reserveTask } from './grow.ts';
import { makeImageTask } from './make-image.ts';
import { removeImageTask } from './remove-image.ts';
import { showVolumeTask, takeOffTask } from './show-volume.ts';
import { fillBallastTask, giveBackTask } from './shrink.ts';
import { takeGivenTask } from './take-given.ts';

/** The steps of all changes of volumes. */
export function volumeTasks(room: VolumesRoom): AnyTask[] {
  return [
    makeImageTask(room),
    showVolumeTask(room),
    takeOffTask(room),
    decideTask(),
    removeImageTask(room),
    reserveTask(room),
    releaseBallastTask(room),
    fillBallastTask(room),
    giveBackTask(room),
    takeGivenTask(room),
  ];
}
