import { randomUUID } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { checkName, formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import { accountOf } from '../kernel/accounts.ts';
import { exists } from '../kernel/files.ts';
import { lockedBytesMax } from '../kernel/locked-memory.ts';
import { luksProblem } from '../kernel/luks.ts';
import { tpmProblem } from '../kernel/tpm-seal.ts';
import { type Enclave, type KeyKind, readEnclave, readEnclaves, type Way } from './enclave-rows.ts';
import type { GivenSecret } from './given-secrets.ts';
import { type EnclaveRoom, enclaveOf, recoveryFileOf } from './room.ts';
import { volumeBytesMin } from './volume.ts';

/** Who asks, as the kernel recorded it. */
export interface EnclaveCaller {
  uid: number;
  gid: number;
}

/** Each holds its space for itself. */
const ENCLAVES_PER_OWNER_MAX = 8;
/** Nobody types this by accident; a wrong size would be refused by mkfs with worse words. */
const volumeBytesMax = 16 * 1024 ** 4;
/** Of a file system's block. */
const BLOCK = 4096;
/** Key records, rows. */
const SMALL_BYTES = 64 * 1024;
/** Below this a pause for thought would close it. */
const idleMsMin = 10_000;

const task = (kind: string, params: object): TaskSpec => ({ kind, params: params as Json });

function checkedSize(bytes: number): number {
  if (bytes < volumeBytesMin || bytes > volumeBytesMax)
    throw new PersonaError('bad-value', {
      name: 'the size',
      reason: `${formatSize(bytes)} is not between ${formatSize(volumeBytesMin)} and ${formatSize(volumeBytesMax)}`,
    });
  return Math.floor(bytes / BLOCK) * BLOCK;
}

/** Hands the secret to the steps of the change. Throws when it is empty. `undefined`: nobody gives one. */
function kept(room: EnclaveRoom, secret: GivenSecret | undefined): { secret?: string } {
  if (secret === undefined) return {};
  if (secret.reveal().length === 0)
    throw new PersonaError('bad-value', {
      name: 'the key',
      reason: `a passphrase or key file has 1 to ${lockedBytesMax} bytes`,
    });
  return { secret: room.secrets.put(secret) };
}

/** Device-mapper hides more, so it is taken where it is there. Throws `capability-missing`. */
function wayOf(asked: Way | 'auto' = 'auto'): Way {
  if (asked === 'fscrypt') return asked;
  const problem = luksProblem();
  if (problem === undefined) return 'luks2';
  if (asked === 'auto') return 'fscrypt';
  throw new PersonaError('capability-missing', { capability: `LUKS2: ${problem}` });
}

/** Throws `bad-value`, `capability-missing`. */
function checkKey(key: KeyKind, credential: string | undefined): void {
  if ((key === 'credential') !== (credential !== undefined))
    throw new PersonaError('bad-value', {
      name: 'the key',
      reason: 'a credential has a name, and nothing else has one',
    });
  const lacking = key === 'tpm2' ? tpmProblem() : undefined;
  if (lacking !== undefined) throw new PersonaError('capability-missing', { capability: lacking });
}

/** Makes an enclave of the caller. Throws already-exists, bad-name, bad-value, limit-exceeded. */
export async function planCreate(
  room: EnclaveRoom,
  params: {
    name: string;
    bytes: number;
    key: KeyKind;
    type?: Way | 'auto' | undefined;
    credential?: string | undefined;
    secret: GivenSecret | undefined;
  },
  caller: EnclaveCaller,
): Promise<Plan> {
  const { key, credential } = params;
  const name = checkName(params.name);
  checkKey(key, credential);
  const bytes = checkedSize(params.bytes);
  const known = await readEnclaves(room.store);
  if (known.some((one) => one.name === name))
    throw new PersonaError('already-exists', { what: `enclave ${name}` });
  const mine = known.filter(({ owner }) => owner === caller.uid);
  if (caller.uid !== 0 && mine.length >= ENCLAVES_PER_OWNER_MAX)
    throw new PersonaError('limit-exceeded', {
      what: 'the number of your enclaves',
      limit: ENCLAVES_PER_OWNER_MAX,
    });
  const enclave: Enclave = {
    name,
    id: randomUUID(),
    owner: caller.uid,
    // Not the group the caller happens to act in: after `newgrp persona` that is everybody's who may use the daemon.
    gid: accountOf(caller.uid)?.gid ?? caller.gid,
    bytes,
    way: wayOf(params.type),
    key,
    ...(credential === undefined ? {} : { credential }),
    createdMs: room.now(),
  };
  const secret = kept(room, params.secret);
  return {
    kind: 'enclave.create',
    summary: `make enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: [
      task('enclaves.make-volume', { enclave }),
      task('enclaves.encrypt-volume', { enclave, ...secret }),
      task('enclaves.commit-enclave', { enclave, ...secret }),
    ],
    needs: { bytes: bytes + SMALL_BYTES },
  };
}

function wrongState(enclave: string, action: string, state: string): PersonaError {
  return new PersonaError('enclave-state', { enclave, action, state });
}

/** Throws `bad-value` where a recovery key is to open an enclave that has none. */
async function checkRecovery(
  room: EnclaveRoom,
  { id, name }: Enclave,
  recovery: boolean | undefined,
): Promise<{ recovery?: true }> {
  if (recovery !== true) return {};
  if (await exists(recoveryFileOf(room, id))) return { recovery };
  throw new PersonaError('bad-value', {
    name: 'the recovery key',
    reason: `enclave ${name} has none`,
  });
}

/** Opens an enclave. Throws enclave-not-found, enclave-state, bad-value. */
export async function planOpen(
  room: EnclaveRoom,
  params: {
    enclave: string;
    secret: GivenSecret | undefined;
    /** The secret is the recovery key. */
    recovery?: boolean | undefined;
    idleMs?: number | undefined;
    beforeSleep?: boolean | undefined;
  },
  caller: EnclaveCaller,
): Promise<Plan> {
  const enclave = await enclaveOf(room, params.enclave);
  const { name, id, opened } = enclave;
  if (opened !== undefined) throw wrongState(name, 'open', 'open');
  const { idleMs, beforeSleep } = params;
  if (idleMs !== undefined && idleMs < idleMsMin)
    throw new PersonaError('bad-value', {
      name: '--idle',
      reason: `it is at least ${idleMsMin / 1000} seconds`,
    });
  const recovery = await checkRecovery(room, enclave, params.recovery);
  const given = {
    enclave: name,
    id,
    ...recovery,
    ...kept(room, params.secret),
    ...(idleMs === undefined ? {} : { idleMs }),
    ...(beforeSleep === true ? { beforeSleep } : {}),
  };
  return {
    kind: 'enclave.open',
    summary: `open enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: [task('enclaves.show-volume', given), task('enclaves.commit-open', given)],
    needs: { bytes: SMALL_BYTES },
  };
}

/** Closes an enclave: one that nobody uses, or with `force` any. Throws enclave-not-found, enclave-state. */
export async function planClose(
  room: EnclaveRoom,
  { enclave, force = false }: { enclave: string; force?: boolean | undefined },
  caller: Pick<EnclaveCaller, 'uid'>,
): Promise<Plan> {
  const { name, id, opened } = await enclaveOf(room, enclave);
  if (opened === undefined) throw wrongState(name, 'close', 'closed');
  const params = { enclave: name, id, ...(force ? { force } : {}) };
  return {
    kind: 'enclave.close',
    summary: `close enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: ['put-aside', 'commit-close', 'hide-volume'].map((step) =>
      task(`enclaves.${step}`, params),
    ),
    needs: { rescue: true },
  };
}

/** Changes what opens an enclave, whether it is open or not. Throws enclave-not-found, bad-value, capability-missing. */
export async function planPasswd(
  room: EnclaveRoom,
  params: {
    enclave: string;
    secret: GivenSecret | undefined;
    /** The present secret is the recovery key. */
    recovery?: boolean | undefined;
    next: { key: KeyKind; credential?: string | undefined; secret: GivenSecret | undefined };
  },
  caller: Pick<EnclaveCaller, 'uid'>,
): Promise<Plan> {
  const enclave = await enclaveOf(room, params.enclave);
  const { name, id } = enclave;
  const { key, credential } = params.next;
  checkKey(key, credential);
  const recovery = await checkRecovery(room, enclave, params.recovery);
  const { secret: nextSecret } = kept(room, params.next.secret);
  const given = {
    enclave: name,
    id,
    key,
    ...(credential === undefined ? {} : { credential }),
    ...recovery,
    ...kept(room, params.secret),
    ...(nextSecret === undefined ? {} : { nextSecret }),
  };
  return {
    kind: 'enclave.passwd',
    summary: `change what opens enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: ['wrap-again', 'commit-passwd', 'replace-key'].map((step) =>
      task(`enclaves.${step}`, given),
    ),
    needs: { bytes: SMALL_BYTES },
  };
}

/** Makes a recovery key, by which an enclave opens beside what opens it now; it replaces the one of before. Throws enclave-not-found, bad-value. */
export async function planRecovery(
  room: EnclaveRoom,
  params: {
    enclave: string;
    secret: GivenSecret | undefined;
    recovery: GivenSecret | undefined;
  },
  caller: Pick<EnclaveCaller, 'uid'>,
): Promise<Plan> {
  const { name, id } = await enclaveOf(room, params.enclave);
  const { secret: recoverySecret } = kept(room, params.recovery);
  const given = {
    enclave: name,
    id,
    ...kept(room, params.secret),
    ...(recoverySecret === undefined ? {} : { recoverySecret }),
  };
  return {
    kind: 'enclave.recovery',
    summary: `make a recovery key of enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: ['wrap-recovery', 'commit-recovery', 'replace-recovery'].map((step) =>
      task(`enclaves.${step}`, given),
    ),
    needs: { bytes: SMALL_BYTES },
  };
}

/** Destroys a closed enclave, its key first. Throws enclave-not-found, enclave-state. */
export async function planRemove(
  room: EnclaveRoom,
  enclave: string,
  caller: Pick<EnclaveCaller, 'uid'>,
): Promise<Plan> {
  const { name, id, bytes, opened } = await enclaveOf(room, enclave);
  if (opened !== undefined) throw wrongState(name, 'remove', 'open');
  return {
    kind: 'enclave.rm',
    summary: `destroy enclave ${name}`,
    ownerUid: caller.uid,
    holds: [`enclave:${name}`],
    tasks: ['forget-enclave', 'destroy-key', 'remove-volume'].map((step) =>
      task(`enclaves.${step}`, { enclave: name, id, bytes }),
    ),
    needs: { rescue: true },
  };
}

/** Who owns an enclave; undefined when there is none. */
export async function ownerOfEnclave(
  { store }: EnclaveRoom,
  name: string,
): Promise<number | undefined> {
  return (await readEnclave(store, name))?.owner;
}
