import { dirname } from 'node:path';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { destroyFile, removeFolder, syncFolder } from '../../kernel/files.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { deleteEnclave } from '../enclave-rows.ts';
import { told } from '../refusals.ts';
import {
  anchorOf,
  asideOf,
  type EnclaveRoom,
  folderOf,
  keyFileOf,
  type Planned,
  plannedOf,
  recoveryFileOf,
} from '../room.ts';
import { isShown } from '../volume.ts';

/** What the steps of a removal are given. */
export interface RemoveParams extends Planned {
  /** Known to the steps after its row is gone. */
  id: string;
  /** What is freed. */
  bytes: number;
}

/** Forgets a closed enclave: from here on its key is destroyed, whatever happens. */
export function forgetEnclaveTask(room: EnclaveRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'enclaves.forget-enclave',
    summary: ({ enclave }) => `forget enclave ${enclave}, if it is closed`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_, planned) {
      const { name, opened } = await plannedOf(room, planned);
      if (opened !== undefined || isShown(room, name))
        throw new PersonaError('enclave-state', { action: 'remove', enclave: name, state: 'open' });
      return { record: (tx) => deleteEnclave(tx, name) };
    },
  });
}

/** Destroys the wrapped key: without it the content is noise, also for who knows the passphrase and has a copy of the volume. */
export function destroyKeyTask(room: EnclaveRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'enclaves.destroy-key',
    summary: ({ enclave }) => `destroy the key of ${enclave}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(_, { id }) {
      for (const file of [keyFileOf(room, id), recoveryFileOf(room, id)]) await destroyFile(file);
    },
  });
}

/** Removes the volume. */
export function removeVolumeTask(room: EnclaveRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'enclaves.remove-volume',
    summary: ({ enclave }) => `remove the volume of ${enclave}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(_, { enclave, id, bytes }) {
      const folder = folderOf(room, id);
      await told(folder, () => removeTree(folder));
      await syncFolder(dirname(folder));
      for (const place of [anchorOf(room, enclave), asideOf(room, enclave)])
        await removeFolder(place);
      room.problems.delete(enclave);
      room.held.delete(enclave);
      return { result: { enclave, freedBytes: bytes } };
    },
  });
}
