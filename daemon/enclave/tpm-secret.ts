import { randomFillSync } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { ProgramFailed } from '../kernel/exec.ts';
import { LockedBytes } from '../kernel/locked-memory.ts';
import { sealByTpm, tpmProblem, unsealByTpm } from '../kernel/tpm-seal.ts';

const secretBytes = 32;

/** What is sealed for one enclave is given back for no other. */
const nameOf = (id: string): string => `personad-enclave-${id}`;

/** A secret that nobody knows. */
export function newSecret(): LockedBytes {
  const secret = new LockedBytes(secretBytes);
  randomFillSync(secret.bytes());
  return secret;
}

function refused(enclave: string, error: unknown): unknown {
  if (!(error instanceof ProgramFailed)) return error;
  const reason = error.stderr.trim().split('\n').at(-1) || error.message;
  return new PersonaError('tpm-refused', { enclave, reason }, { cause: error });
}

/** Seals the secret of an enclave, and looks whether it comes back. Throws `tpm-refused`. */
export async function sealSecret(
  { name, id }: { name: string; id: string },
  secret: LockedBytes,
): Promise<string> {
  try {
    const sealed = await sealByTpm(nameOf(id), secret);
    using back = await unsealByTpm(nameOf(id), sealed);
    if (back.bytes().equals(secret.bytes())) return sealed;
  } catch (error) {
    throw refused(name, error);
  }
  throw new PersonaError('tpm-refused', { enclave: name, reason: 'it gives back something else' });
}

/** The secret of an enclave, for the caller to wipe. Throws `tpm-refused`. */
export async function unsealSecret(
  { name, id }: { name: string; id: string },
  sealed: string,
): Promise<LockedBytes> {
  const lacking = tpmProblem();
  if (lacking !== undefined)
    throw new PersonaError('tpm-refused', {
      enclave: name,
      reason: `the machine lacks ${lacking}`,
    });
  try {
    return await unsealByTpm(nameOf(id), sealed);
  } catch (error) {
    throw refused(name, error);
  }
}
