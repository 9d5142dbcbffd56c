import { closeSync, openSync } from 'node:fs';
import { startProgram } from './exec.ts';
import { LockedBytes, lockedBytesMax } from './locked-memory.ts';
import { findProgram } from './probe-host.ts';

/** The TPM behind the kernel's resource manager. */
const DEVICE = '/dev/tpmrm0';
/** A TPM makes its storage key anew for it: a second; an emulated machine takes a minute. */
const SEAL_MS = 120_000;
/** What comes of a secret of the longest kind is a few times as long. */
const SEALED_MAX = 32 * 1024;

/** What this machine lacks to have a TPM seal something; undefined when it has all. */
export function tpmProblem(): string | undefined {
  try {
    closeSync(openSync(DEVICE, 'r+'));
  } catch (error) {
    return `a TPM 2.0 (${DEVICE}: ${(error as NodeJS.ErrnoException).code})`;
  }
  return findProgram('systemd-creds') === undefined ? 'systemd-creds (package systemd)' : undefined;
}

/**
 * Runs systemd-creds: `input` goes to its standard input, and of the output each piece is handed to `take` and overwritten. Throws ProgramFailed.
 */
async function creds(
  verb: string[],
  name: string,
  input: Buffer,
  take: (piece: Buffer) => void,
): Promise<void> {
  const file = findProgram('systemd-creds');
  if (file === undefined) throw new Error('systemd-creds is not installed');
  const args = [...verb, `--tpm2-device=${DEVICE}`, `--name=${name}`, '-', '-'];
  const child = await startProgram({ file, args, deadlineMs: SEAL_MS }, { input: true });
  child.stdin?.end(input);
  for await (const piece of child.stdout as AsyncIterable<Buffer>) {
    take(piece);
    piece.fill(0);
  }
  await child.done;
}

/**
 * Seals a secret, so that this TPM alone gives it back, under this name alone. It asks for no state of the machine (PCRs): an update of the firmware,
 * or of what it refuses to start, would lose the secret for ever. Throws ProgramFailed.
 */
export async function sealByTpm(name: string, secret: LockedBytes): Promise<string> {
  let sealed = '';
  const verb = ['encrypt', '--with-key=tpm2', '--tpm2-pcrs='];
  await creds(verb, name, secret.bytes(), (piece) => {
    sealed += piece.toString('latin1');
  });
  return sealed.replace(/\s/g, '');
}

/** The secret again, for the caller to wipe. Throws ProgramFailed when the TPM does not give it, or what was sealed is damaged. */
export async function unsealByTpm(name: string, sealed: string): Promise<LockedBytes> {
  if (sealed.length > SEALED_MAX) throw new Error('what a TPM is to unseal is too long');
  using all = new LockedBytes(lockedBytesMax);
  let length = 0;
  await creds(['decrypt'], name, Buffer.from(sealed, 'latin1'), (piece) => {
    length += piece.copy(all.bytes(), length);
  });
  const secret = new LockedBytes(length);
  all.bytes().copy(secret.bytes(), 0, 0, length);
  return secret;
}
