import type { AnyTask } from '../changes/task.ts';
import type { FastRoom } from './room.ts';
import { makeTask } from './tasks/make.ts';
import { measureTask } from './tasks/measure.ts';
import { removeTasks } from './tasks/remove.ts';
import { resizeTask } from './tasks/resize.ts';

/** The task kinds of this room. */
export const fastTasks = (room: FastRoom): AnyTask[] => [
  measureTask(room),
  makeTask(room),
  resizeTask(room),
  ...removeTasks(room),
];
