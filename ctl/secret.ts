import { closeSync, openSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import { PersonaError } from '../ipc/errors.ts';
import type { EnclavePage } from '../ipc/methods/shapes.ts';
import type { Call } from './call.ts';
import { recoveryBytes } from './recovery-key.ts';
import { upload } from './transfer.ts';

type KeyKind = EnclavePage['key'];

/** The daemon takes no more. */
const bytesMax = 4096;

/** The whole of a key file; "-" is the standard input. */
function keyFile(call: Call, path: string): Buffer {
  const file = path === '-' ? 0 : openSync(resolve(call.io.cwd(), path), 'r');
  const bytes = Buffer.alloc(bytesMax + 1);
  try {
    let length = 0;
    for (let got = -1; got !== 0 && length < bytes.length; length += got)
      got = readSync(file, bytes, length, bytes.length - length, null);
    if (length === 0 || length > bytesMax)
      throw new PersonaError('bad-value', {
        name: 'the key file',
        reason: `it has to have 1 to ${bytesMax} bytes`,
      });
    return bytes.subarray(0, length);
  } catch (error) {
    bytes.fill(0);
    throw error;
  } finally {
    if (file !== 0) closeSync(file);
  }
}

async function passphrase(call: Call, prompt: string, twice: boolean): Promise<Buffer> {
  const first = await call.io.secretLine(prompt);
  if (first.length === 0)
    throw new PersonaError('bad-value', { name: 'the passphrase', reason: 'it is empty' });
  if (!twice) return first;
  const second = await call.io.secretLine('Again: ');
  const same = first.equals(second);
  second.fill(0);
  if (same) return first;
  first.fill(0);
  throw new PersonaError('bad-value', { name: 'the passphrase', reason: 'the two differ' });
}

/** Sends bytes beside the messages, and wipes them. Returns the ticket that stands for them. */
export async function sendBytes(call: Call, bytes: Buffer): Promise<string> {
  try {
    const client = await call.client();
    const { ticket } = await client.call('bulk.open', { direction: 'secret' });
    const data = async function* () {
      yield bytes;
    };
    await upload(client.path, ticket, data(), () => {});
    return ticket;
  } finally {
    bytes.fill(0);
  }
}

async function recoveryKey(call: Call): Promise<Buffer> {
  const typed = await call.io.secretLine('Recovery key: ');
  try {
    return recoveryBytes(typed.toString('latin1'));
  } finally {
    typed.fill(0);
  }
}

/**
 * Asks for the key of an enclave, or reads its key file, and sends it beside the messages. Returns the ticket that stands for it;
 * nothing in a dry run. A credential is only named: the daemon has it, as the machine has its TPM. A passphrase that is typed for the first
 * time is asked for twice. `prefix` is that of the flags.
 */
export async function sendSecret(
  call: Call,
  isNew: boolean,
  prefix: '' | 'new-' = '',
): Promise<{ secret?: string; credential?: string; key: KeyKind }> {
  const credential = call.text(`${prefix}credential`);
  if (credential !== undefined) return { credential, key: 'credential' };
  if (call.has(`${prefix}tpm2`)) return { key: 'tpm2' };
  const path = call.text(`${prefix}key-file`);
  const key = path === undefined ? 'passphrase' : 'file';
  if (call.has('dry-run')) return { key };
  const twice = isNew && process.getBuiltinModule('node:tty').isatty(0);
  const prompt = prefix === '' ? 'Passphrase: ' : 'New passphrase: ';
  const bytes = path === undefined ? await passphrase(call, prompt, twice) : keyFile(call, path);
  return { secret: await sendBytes(call, bytes), key };
}

/** What opens an enclave now: its key as above, or with --recovery its recovery key. */
export async function sendPresent(
  call: Call,
): Promise<{ secret?: string; credential?: string; recovery?: true }> {
  if (call.has('recovery')) {
    if (call.has('dry-run')) return { recovery: true };
    return { recovery: true, secret: await sendBytes(call, await recoveryKey(call)) };
  }
  const { key: _, ...given } = await sendSecret(call, false);
  return given;
}
