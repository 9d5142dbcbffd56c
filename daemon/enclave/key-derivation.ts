import * as crypto from 'node:crypto';
import { promisify } from 'node:util';
import { PersonaError } from '../../ipc/errors.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';

/** How a key is made of what a user knows or has; kept beside the key that it unwraps. */
export type Derivation =
  | { kind: 'argon2id'; salt: string; memoryKiB: number; passes: number; lanes: number }
  | { kind: 'scrypt'; salt: string; cost: number; blockSize: number; lanes: number };

const saltBytes = 16;
/** Bytes of a key for AES-256. */
export const derivedBytes = 32;
/** 64 MiB and three passes: the second choice of RFC 9106, for machines that have other things to do, too. */
const argon2id = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };
/** The same memory. */
const scrypt = { cost: 2 ** 16, blockSize: 8, lanes: 1 };
/** What a record may ask for: it is ours, but a damaged one must not take the machine's memory. */
const memoryBytesMax = 1024 ** 3;

/** Absent where the runtime was built without it. */
const argon2 = (crypto as { argon2?: typeof crypto.argon2 }).argon2;

/** A fresh salt, and the best function that this runtime has. */
export function newDerivation(): Derivation {
  const salt = crypto.randomBytes(saltBytes).toString('hex');
  return argon2 === undefined
    ? { kind: 'scrypt', salt, ...scrypt }
    : { kind: 'argon2id', salt, ...argon2id };
}

/** The parameters in words. */
export function derivationText(derivation: Derivation): string {
  if (derivation.kind === 'scrypt')
    return `scrypt, N ${derivation.cost}, r ${derivation.blockSize}, p ${derivation.lanes}`;
  const { memoryKiB, passes, lanes } = derivation;
  return `argon2id, ${memoryKiB / 1024} MiB, ${passes} passes, ${lanes} lanes`;
}

function memoryOf(derivation: Derivation): number {
  return derivation.kind === 'argon2id'
    ? derivation.memoryKiB * 1024
    : 128 * derivation.cost * derivation.blockSize;
}

/** Each takes much memory: they run one after the other. */
let turn: Promise<unknown> = Promise.resolve();

/** Writes the key that `secret` gives into `into`. Nothing of it stays elsewhere in our memory. */
export function derive(
  derivation: Derivation,
  secret: LockedBytes,
  into: LockedBytes,
): Promise<void> {
  const mine = turn.then(async () => {
    if (memoryOf(derivation) > memoryBytesMax)
      throw new PersonaError('state-damaged', 'a key record asks for too much memory');
    const key = await derived(derivation, secret.bytes());
    key.copy(into.bytes());
    key.fill(0);
  });
  turn = mine.catch(() => undefined);
  return mine;
}

async function derived(derivation: Derivation, secret: Buffer): Promise<Buffer> {
  const salt = Buffer.from(derivation.salt, 'hex');
  if (derivation.kind === 'scrypt') {
    const { cost, blockSize: r, lanes: p } = derivation;
    const options = { N: cost, r, p, maxmem: 2 * memoryOf(derivation) };
    return promisify<crypto.BinaryLike, crypto.BinaryLike, number, crypto.ScryptOptions, Buffer>(
      crypto.scrypt,
    )(secret, salt, derivedBytes, options);
  }
  if (argon2 === undefined)
    throw new PersonaError('capability-missing', { capability: 'argon2id' });
  const { memoryKiB, passes, lanes } = derivation;
  return promisify(argon2)('argon2id', {
    message: secret,
    nonce: salt,
    parallelism: lanes,
    tagLength: derivedBytes,
    memory: memoryKiB,
    passes,
  });
}
