import { PersonaError } from '../../ipc/errors.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { type Enclave, keyWords } from './enclave-rows.ts';
import { type KeyRecord, readKeyRecord, unwrap, wrap } from './key-record.ts';
import { type EnclaveRoom, keyFileOf, recoveryFileOf } from './room.ts';
import { newSecret, sealSecret, unsealSecret } from './tpm-secret.ts';

/** Wraps the key of an enclave by what is to open it: the secret of this name, or one that only the TPM will know. Throws `tpm-refused`. */
export async function wrapFor(
  room: EnclaveRoom,
  enclave: Enclave,
  identifier: string,
  master: LockedBytes,
  secret: string,
): Promise<KeyRecord> {
  const { id, key } = enclave;
  if (key !== 'tpm2') return await wrap(id, identifier, master, room.secrets.take(secret));
  using random = newSecret();
  const sealed = await sealSecret(enclave, random);
  return { ...(await wrap(id, identifier, master, random)), sealed };
}

async function unwrapFor(
  room: EnclaveRoom,
  enclave: Enclave,
  record: KeyRecord,
  secret: string,
): Promise<LockedBytes | undefined> {
  if (record.sealed === undefined) return await unwrap(record, room.secrets.take(secret));
  using unsealed = await unsealSecret(enclave, record.sealed);
  return await unwrap(record, unsealed);
}

/** What is to give the key of an enclave. */
export interface Opener {
  /** The name of the secret. */
  secret: string;
  /** It is the recovery key, whatever else opens the enclave. */
  recovery?: boolean | undefined;
}

/** The key of an enclave again, for the caller to wipe, and what was kept with it. Throws `wrong-key`, `tpm-refused`, `state-damaged`. */
export async function masterOf(
  room: EnclaveRoom,
  enclave: Enclave,
  { secret, recovery = false }: Opener,
): Promise<{ record: KeyRecord; master: LockedBytes }> {
  const { id, name, key } = enclave;
  const file = recovery ? recoveryFileOf(room, id) : keyFileOf(room, id);
  const record = await readKeyRecord(file, id);
  const master = await unwrapFor(room, enclave, record, secret);
  if (master !== undefined) return { record, master };
  const word = recovery ? 'recovery key' : keyWords[key];
  throw new PersonaError('wrong-key', { enclave: name, key: word });
}
