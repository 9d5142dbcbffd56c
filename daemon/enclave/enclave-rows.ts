import type { Row, Store, Tx } from '../store/store.ts';

/** How the content of an enclave is encrypted. */
export type Way = 'fscrypt' | 'luks2';
/** What opens it. */
export type KeyKind = 'passphrase' | 'file' | 'credential' | 'tpm2';
/** The same in words. */
export const keyWords: Record<KeyKind, string> = {
  passphrase: 'passphrase',
  file: 'key file',
  credential: 'credential',
  tpm2: 'TPM of this machine',
};

/** An encrypted volume of one user. */
export interface Enclave {
  name: string;
  /** Also the uuid of its file system, and bound into its key record. */
  id: string;
  owner: number;
  /** Group of the owner: that of the files at the top. */
  gid: number;
  bytes: number;
  way: Way;
  key: KeyKind;
  /** The name of the credential that it was made with. */
  credential?: string;
  createdMs: number;
  /** Absent: closed. */
  opened?: Opened;
}

/** Since when an enclave is open. */
export interface Opened {
  ms: number;
  /** The boot in which: with another it is closed by now. */
  boot: string;
  /** Closed by itself after so long without use. */
  idleMs?: number;
  /** Closed before the machine sleeps. */
  beforeSleep?: true;
}

function enclaveOf(row: Row): Enclave {
  const detail = JSON.parse(String(row.detail)) as Pick<
    Enclave,
    'gid' | 'way' | 'key' | 'credential'
  >;
  const asked = {
    ...(row.idle === null ? {} : { idleMs: Number(row.idle) }),
    ...(row.before_sleep === 1 ? { beforeSleep: true as const } : {}),
  };
  return {
    name: String(row.name),
    id: String(row.id),
    owner: Number(row.owner),
    bytes: Number(row.bytes),
    createdMs: Number(row.created),
    ...detail,
    ...(row.opened === null
      ? {}
      : { opened: { ms: Number(row.opened), boot: String(row.boot), ...asked } }),
  };
}

/** All enclaves, by name. */
export async function readEnclaves(store: Store): Promise<Enclave[]> {
  return (await store.kept('SELECT * FROM enclaves ORDER BY name')).map(enclaveOf);
}

/** The enclave of this name, or undefined. */
export async function readEnclave(store: Store, name: string): Promise<Enclave | undefined> {
  const row = await store.get('SELECT * FROM enclaves WHERE name = ?', name);
  return row === undefined ? undefined : enclaveOf(row);
}

/** Adds an enclave, closed. */
export function putEnclave(tx: Tx, enclave: Enclave, change: number | null): void {
  const { gid, way, key, credential } = enclave;
  tx.run(
    'INSERT INTO enclaves (name, id, owner, bytes, created, change, detail) VALUES (?, ?, ?, ?, ?, ?, ?)',
    enclave.name,
    enclave.id,
    enclave.owner,
    enclave.bytes,
    enclave.createdMs,
    change,
    JSON.stringify({ gid, way, key, credential }),
  );
}

/** Writes down what opens an enclave from now on. */
export function changeKey(tx: Tx, { name, gid, way, key, credential }: Enclave): void {
  const detail = JSON.stringify({ gid, way, key, credential });
  tx.run('UPDATE enclaves SET detail = ? WHERE name = ?', detail, name);
}

/** Writes down that an enclave is open, or, without `opened`, closed. */
export function markOpened(tx: Tx, name: string, opened: Opened | undefined): void {
  tx.run(
    'UPDATE enclaves SET opened = ?, boot = ?, idle = ?, before_sleep = ? WHERE name = ?',
    opened?.ms ?? null,
    opened?.boot ?? null,
    opened?.idleMs ?? null,
    opened?.beforeSleep === true ? 1 : null,
    name,
  );
}

/** Forgets an enclave. */
export function deleteEnclave(tx: Tx, name: string): void {
  tx.run('DELETE FROM enclaves WHERE name = ?', name);
}
