import type { LockedBytes } from '../kernel/locked-memory.ts';
import type { Enclave } from './enclave-rows.ts';
import { type KeyRecord, unwrap, wrap } from './key-record.ts';
import type { EnclaveRoom } from './room.ts';
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

/** The key of an enclave again, for the caller to wipe; undefined when the secret is not the right one. Throws `tpm-refused`. */
export async function unwrapFor(
  room: EnclaveRoom,
  enclave: Enclave,
  record: KeyRecord,
  secret: string,
): Promise<LockedBytes | undefined> {
  if (record.sealed === undefined) return await unwrap(record, room.secrets.take(secret));
  using unsealed = await unsealSecret(enclave, record.sealed);
  return await unwrap(record, unsealed);
}
