import { dirname } from 'node:path';
import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { syncFolder } from '../../kernel/files.ts';
import { writeRecord } from '../../kernel/records.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { type Enclave, keyWords, putEnclave, readEnclave } from '../enclave-rows.ts';
import { newMasterKey, writeKeyRecord } from '../key-record.ts';
import { wrapFor } from '../master-key.ts';
import { told } from '../refusals.ts';
import { type EnclaveRoom, folderOf, keyFileOf, recordOf } from '../room.ts';
import { encryptVolume, hideVolume, makeVolume } from '../volume.ts';

/** Kind of the record beside a volume. */
export const enclaveRecord = 'enclave';
/** A terabyte on a slow disk. */
const timeoutMs = 3_600_000;

/** What the steps of a new enclave are given. */
export interface CreateParams {
  enclave: Enclave;
  /** Where the secret is. Absent only in a dry run. */
  secret?: string;
}

/** Makes the volume: all its blocks, and a file system. */
export function makeVolumeTask(room: EnclaveRoom): AnyTask {
  return defineTask<Pick<CreateParams, 'enclave'>>({
    kind: 'enclaves.make-volume',
    summary: ({ enclave }) => `set ${formatSize(enclave.bytes)} aside and make a file system in it`,
    timeoutMs,
    async do(context, { enclave }) {
      // Of two creations the second has waited for the first.
      if ((await readEnclave(room.store, enclave.name)) !== undefined)
        throw new PersonaError('already-exists', { what: `enclave ${enclave.name}` });
      await told(folderOf(room, enclave.id), () =>
        makeVolume(room, enclave, context.signal, (done) =>
          context.progress({ done, total: enclave.bytes, unit: 'bytes' }),
        ),
      );
    },
    async undo(_, { enclave }) {
      const folder = folderOf(room, enclave.id);
      await removeTree(folder);
      await syncFolder(dirname(folder));
    },
  });
}

/** Makes a key, encrypts the volume under it, and keeps the key wrapped by the secret. Goes with the volume when it is undone. */
export function encryptVolumeTask(room: EnclaveRoom): AnyTask {
  return defineTask<CreateParams>({
    kind: 'enclaves.encrypt-volume',
    summary: ({ enclave }) =>
      `encrypt it under a new key, which only the ${keyWords[enclave.key]} unwraps`,
    async do(context, { enclave, secret = '' }) {
      const { id } = enclave;
      using master = newMasterKey();
      const identifier = await told(folderOf(room, id), () => encryptVolume(room, enclave, master));
      await context.fault('encrypted');
      const wrapped = await wrapFor(room, enclave, identifier, master, secret);
      await writeKeyRecord(keyFileOf(room, id), wrapped);
      await context.fault('key-kept');
      const { opened: _, ...body } = enclave;
      await writeRecord(recordOf(room, id), enclaveRecord, { ...body });
    },
    async undo(_, { enclave, secret = '' }) {
      room.secrets.wipe(secret);
      await hideVolume(room, enclave);
    },
  });
}

/** Gives the enclave its row. */
export function commitEnclaveTask(room: EnclaveRoom): AnyTask {
  return defineTask<CreateParams>({
    kind: 'enclaves.commit-enclave',
    summary: ({ enclave }) => `record enclave ${enclave.name}`,
    pointOfNoReturn: true,
    undo: 'nothing-to-undo',
    async do(context, { enclave, secret = '' }) {
      room.secrets.wipe(secret);
      return { record: (tx) => putEnclave(tx, enclave, context.changeId) };
    },
  });
}
