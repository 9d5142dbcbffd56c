import { type AnyTask, defineTask } from '../../changes/task.ts';
import { destroyFile, exists, moveDurably } from '../../kernel/files.ts';
import { wrap, writeKeyRecord } from '../key-record.ts';
import { masterOf } from '../master-key.ts';
import {
  type EnclaveRoom,
  findPlanned,
  nextRecoveryFileOf,
  type Planned,
  plannedOf,
  recoveryFileOf,
} from '../room.ts';

/** What the steps of a recovery key are given. */
export interface RecoveryParams extends Planned {
  /** Where the present secret is, and the recovery key. */
  secret?: string;
  recoverySecret?: string;
}

/** Wraps the key of the volume by the recovery key, too. One of before stays until this is sure. */
export function wrapRecoveryTask(room: EnclaveRoom): AnyTask {
  return defineTask<RecoveryParams>({
    kind: 'enclaves.wrap-recovery',
    summary: ({ enclave }) => `unwrap the key of ${enclave}, and wrap it by a recovery key, too`,
    async do(_, { secret = '', recoverySecret = '', ...planned }) {
      const enclave = await plannedOf(room, planned);
      const { id } = enclave;
      const { record, master } = await masterOf(room, enclave, { secret });
      using key = master;
      const recovery = room.secrets.take(recoverySecret);
      const wrapped = await wrap(id, record.identifier, key, recovery);
      await writeKeyRecord(nextRecoveryFileOf(room, id), wrapped);
    },
    async undo(_, { secret = '', recoverySecret = '', ...planned }) {
      for (const one of [secret, recoverySecret]) room.secrets.wipe(one);
      const enclave = await findPlanned(room, planned);
      if (enclave !== undefined) await destroyFile(nextRecoveryFileOf(room, enclave.id));
    },
  });
}

/** From here on the new recovery key opens it. */
export function commitRecoveryTask(room: EnclaveRoom): AnyTask {
  return defineTask<RecoveryParams>({
    kind: 'enclaves.commit-recovery',
    summary: ({ enclave }) => `record that a recovery key opens ${enclave}, too`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_, { secret = '', recoverySecret = '' }) {
      for (const one of [secret, recoverySecret]) room.secrets.wipe(one);
    },
  });
}

/** Destroys what the recovery key of before has opened. */
export function replaceRecoveryTask(room: EnclaveRoom): AnyTask {
  return defineTask<RecoveryParams>({
    kind: 'enclaves.replace-recovery',
    summary: ({ enclave }) => `destroy the key of ${enclave} as a recovery key of before has it`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, planned) {
      const { id } = await plannedOf(room, planned);
      const [now, next] = [recoveryFileOf(room, id), nextRecoveryFileOf(room, id)];
      if (!(await exists(next))) return;
      await destroyFile(now);
      await context.fault('destroyed');
      await moveDurably(next, now);
    },
  });
}
