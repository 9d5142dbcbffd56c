import type { AnyTask } from '../changes/task.ts';
import type { EnclaveRoom } from './room.ts';
import { commitCloseTask, hideVolumeTask, putAsideTask } from './tasks/close.ts';
import { commitEnclaveTask, encryptVolumeTask, makeVolumeTask } from './tasks/create.ts';
import { commitOpenTask, showVolumeTask } from './tasks/open.ts';
import { commitPasswdTask, replaceKeyTask, wrapAgainTask } from './tasks/passwd.ts';
import { commitRecoveryTask, replaceRecoveryTask, wrapRecoveryTask } from './tasks/recovery.ts';
import { destroyKeyTask, forgetEnclaveTask, removeVolumeTask } from './tasks/remove.ts';

/** The steps of all changes of enclaves. */
export function enclaveTasks(room: EnclaveRoom): AnyTask[] {
  return [
    makeVolumeTask(room),
    encryptVolumeTask(room),
    commitEnclaveTask(room),
    showVolumeTask(room),
    commitOpenTask(room),
    putAsideTask(room),
    commitCloseTask(),
    hideVolumeTask(room),
    wrapAgainTask(room),
    commitPasswdTask(room),
    replaceKeyTask(room),
    wrapRecoveryTask(room),
    commitRecoveryTask(room),
    replaceRecoveryTask(room),
    forgetEnclaveTask(room),
    destroyKeyTask(room),
    removeVolumeTask(room),
  ];
}
