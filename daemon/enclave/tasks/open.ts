import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { bootId } from '../../kernel/clock.ts';
import { takeBlocks } from '../blocks.ts';
import { markOpened } from '../enclave-rows.ts';
import { masterOf } from '../master-key.ts';
import { told } from '../refusals.ts';
import { type EnclaveRoom, findPlanned, folderOf, type Planned, plannedOf } from '../room.ts';
import { hideVolume, isShown, showVolume } from '../volume.ts';

/** What the steps of an opening are given. */
export type OpenParams = Planned & {
  secret?: string;
  /** The secret is the recovery key. */
  recovery?: boolean;
  idleMs?: number;
  beforeSleep?: boolean;
};

/** Unwraps the key and shows the volume to its owner. */
export function showVolumeTask(room: EnclaveRoom): AnyTask {
  return defineTask<OpenParams>({
    kind: 'enclaves.show-volume',
    summary: ({ enclave }) => `unwrap the key of ${enclave} and show it to its owner`,
    async do(context, { secret = '', recovery, beforeSleep = false, ...planned }) {
      const enclave = await plannedOf(room, planned);
      const { name } = enclave;
      // Two openings wait for each other: the second finds it open. Shown without a row is what this very step has done.
      if (enclave.opened !== undefined)
        throw new PersonaError('enclave-state', { action: 'open', enclave: name, state: 'open' });
      if (isShown(room, name)) return;
      // Missing ones keep nobody out: his files are there, and the page says what is missing. It may take long: before the key is in memory.
      await told(folderOf(room, enclave.id), () => takeBlocks(room, enclave));
      const { record, master } = await masterOf(room, enclave, { secret, recovery });
      using key = master;
      await context.fault('unwrapped');
      // The last moment: what is opened from here on is waited for, and closed.
      if (beforeSleep && room.sleeps > 0)
        throw new PersonaError('enclave-state', {
          action: 'open',
          enclave: name,
          state: 'kept closed while the machine goes to sleep',
        });
      await told(folderOf(room, enclave.id), () =>
        showVolume(room, enclave, record.identifier, key, context.fault),
      );
    },
    async undo(_, { secret = '', ...planned }) {
      room.secrets.wipe(secret);
      const enclave = await findPlanned(room, planned);
      // Gone, or open, by a change before, which this one has found.
      if (enclave !== undefined && enclave.opened === undefined) await hideVolume(room, enclave);
    },
  });
}

/** Records that it is open. */
export function commitOpenTask(room: EnclaveRoom): AnyTask {
  return defineTask<OpenParams>({
    kind: 'enclaves.commit-open',
    summary: ({ enclave }) => `record that ${enclave} is open`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_, { enclave, secret = '', idleMs, beforeSleep }) {
      room.secrets.wipe(secret);
      room.problems.delete(enclave);
      room.held.delete(enclave);
      const opened = {
        ms: room.now(),
        boot: bootId(),
        ...(idleMs === undefined ? {} : { idleMs }),
        ...(beforeSleep === true ? { beforeSleep } : {}),
      };
      return { record: (tx) => markOpened(tx, enclave, opened) };
    },
  });
}
