import { type AnyTask, defineTask } from '../../changes/task.ts';
import { destroyFile, exists, moveDurably } from '../../kernel/files.ts';
import { writeRecord } from '../../kernel/records.ts';
import { changeKey, type Enclave, type KeyKind, keyWords } from '../enclave-rows.ts';
import { writeKeyRecord } from '../key-record.ts';
import { masterOf, wrapFor } from '../master-key.ts';
import {
  type EnclaveRoom,
  findPlanned,
  keyFileOf,
  nextKeyFileOf,
  type Planned,
  plannedOf,
  recordOf,
} from '../room.ts';
import { enclaveRecord } from './create.ts';

/** What the steps of a change of the key are given. */
export interface PasswdParams extends Planned {
  /** Where the secrets are, the present one and the next. */
  secret?: string;
  nextSecret?: string;
  /** The present secret is the recovery key. */
  recovery?: boolean;
  /** What opens it from then on. */
  key: KeyKind;
  credential?: string;
}

/** The enclave as it is to be. */
async function changed(room: EnclaveRoom, params: PasswdParams): Promise<Enclave> {
  const { key, credential } = params;
  const { credential: _, ...rest } = await plannedOf(room, params);
  return { ...rest, key, ...(credential === undefined ? {} : { credential }) };
}

/** Wraps the key of the volume a second time, beside the first. */
export function wrapAgainTask(room: EnclaveRoom): AnyTask {
  return defineTask<PasswdParams>({
    kind: 'enclaves.wrap-again',
    summary: ({ enclave, key }) =>
      `unwrap the key of ${enclave}, and wrap it so that only the ${keyWords[key]} unwraps it`,
    async do(_, params) {
      const { secret = '', nextSecret = '', recovery } = params;
      const enclave = await plannedOf(room, params);
      const { id } = enclave;
      const { record, master } = await masterOf(room, enclave, { secret, recovery });
      using key = master;
      const next = await changed(room, params);
      const wrapped = await wrapFor(room, next, record.identifier, key, nextSecret);
      await writeKeyRecord(nextKeyFileOf(room, id), wrapped);
    },
    async undo(_, { secret = '', nextSecret = '', ...planned }) {
      for (const one of [secret, nextSecret]) room.secrets.wipe(one);
      const enclave = await findPlanned(room, planned);
      if (enclave !== undefined) await destroyFile(nextKeyFileOf(room, enclave.id));
    },
  });
}

/** Records what opens it from now on. */
export function commitPasswdTask(room: EnclaveRoom): AnyTask {
  return defineTask<PasswdParams>({
    kind: 'enclaves.commit-passwd',
    summary: ({ enclave, key }) => `record that the ${keyWords[key]} opens ${enclave}`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_, params) {
      for (const one of [params.secret, params.nextSecret]) room.secrets.wipe(one ?? '');
      const next = await changed(room, params);
      return { record: (tx) => changeKey(tx, next) };
    },
  });
}

/** Destroys what the key was wrapped in before. */
export function replaceKeyTask(room: EnclaveRoom): AnyTask {
  return defineTask<PasswdParams>({
    kind: 'enclaves.replace-key',
    summary: ({ enclave }) => `destroy the key of ${enclave} as it was wrapped before`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, params) {
      const { opened: _, ...enclave } = await plannedOf(room, params);
      const [now, next] = [keyFileOf(room, enclave.id), nextKeyFileOf(room, enclave.id)];
      if (await exists(next)) {
        await destroyFile(now);
        await context.fault('destroyed');
        await moveDurably(next, now);
      }
      await writeRecord(recordOf(room, enclave.id), enclaveRecord, { ...enclave });
    },
  });
}
