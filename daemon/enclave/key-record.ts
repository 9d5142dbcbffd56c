import { createCipheriv, createDecipheriv, randomBytes, randomFillSync } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { fscryptKeyBytes } from '../kernel/fscrypt.ts';
import { LockedBytes } from '../kernel/locked-memory.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import { type Derivation, derive, derivedBytes, newDerivation } from './key-derivation.ts';

const kind = 'enclave-key';
const cipher = 'aes-256-gcm';
const nonceBytes = 12;

/** The master key of a volume, wrapped by one that the owner's secret gives. Without this file nothing opens the volume. */
export interface KeyRecord {
  /** The enclave it belongs to: a record put beside another volume does not unwrap. */
  id: string;
  /** What the kernel calls the master key; tells nothing of it. */
  identifier: string;
  derivation: Derivation;
  /** The secret itself, as the TPM has sealed it, where nobody is to give it. */
  sealed?: string;
  nonce: string;
  wrapped: string;
  tag: string;
}

/** A new master key for a volume. */
export function newMasterKey(): LockedBytes {
  const key = new LockedBytes(fscryptKeyBytes);
  randomFillSync(key.bytes());
  return key;
}

/** Wraps `master` by what `secret` gives. */
export async function wrap(
  id: string,
  identifier: string,
  master: LockedBytes,
  secret: LockedBytes,
): Promise<KeyRecord> {
  const derivation = newDerivation();
  using wrapping = new LockedBytes(derivedBytes);
  await derive(derivation, secret, wrapping);
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, wrapping.bytes(), nonce).setAAD(Buffer.from(id));
  const wrapped = Buffer.concat([sealing.update(master.bytes()), sealing.final()]);
  return {
    id,
    identifier,
    derivation,
    nonce: nonce.toString('hex'),
    wrapped: wrapped.toString('hex'),
    tag: sealing.getAuthTag().toString('hex'),
  };
}

/** The master key, for the caller to wipe; undefined when `secret` is not the right one. */
export async function unwrap(
  record: KeyRecord,
  secret: LockedBytes,
): Promise<LockedBytes | undefined> {
  using wrapping = new LockedBytes(derivedBytes);
  await derive(record.derivation, secret, wrapping);
  const nonce = Buffer.from(record.nonce, 'hex');
  const opening = createDecipheriv(cipher, wrapping.bytes(), nonce, { authTagLength: 16 })
    .setAAD(Buffer.from(record.id))
    .setAuthTag(Buffer.from(record.tag, 'hex'));
  const plain = opening.update(Buffer.from(record.wrapped, 'hex'));
  try {
    opening.final();
    const key = new LockedBytes(fscryptKeyBytes);
    plain.copy(key.bytes());
    return key;
  } catch {
    return undefined;
  } finally {
    plain.fill(0);
  }
}

/** Writes the record durably. */
export function writeKeyRecord(path: string, record: KeyRecord): Promise<void> {
  return writeRecord(path, kind, { ...record });
}

/** Reads the record of the enclave with this id. Throws `state-damaged` when it is lost, damaged or of another one. */
export async function readKeyRecord(path: string, id: string): Promise<KeyRecord> {
  const record = (await readRecord(path, kind)) as KeyRecord | undefined;
  if (record === undefined || record.id !== id)
    throw new PersonaError('state-damaged', `${path}, the key of an enclave, is lost or damaged`);
  return record;
}
