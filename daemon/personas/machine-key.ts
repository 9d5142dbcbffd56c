import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import { ensureFolder, exists, writeDurably } from '../kernel/files.ts';
import { openSealed } from '../kernel/sealed.ts';
import { keyIdOf, keyText, rawOf } from './public-key.ts';

/** A PEM of an Ed25519 private key has 119 bytes; a larger file is not ours. */
const pemBytesMax = 1024;

/** This machine's own signing key. */
export interface MachineKey {
  id: string;
  /** Base64 of the public key's 32 bytes. */
  publicKey: string;
  privateKey: KeyObject;
}

/**
 * Reads this machine's signing key, and makes it when there is none: 0400, complete on the disk before its first
 * use. Throws state-damaged when the file is there but holds no key, or others may read it.
 */
export async function ensureMachineKey(paths: Pick<Paths, 'state'>): Promise<MachineKey> {
  const file = join(paths.state, statePlaces.machineKey);
  await ensureFolder(join(paths.state, statePlaces.keys));
  await ensureFolder(join(paths.state, statePlaces.trustedKeys));
  if (!(await exists(file))) {
    const { privateKey } = generateKeyPairSync('ed25519');
    await writeDurably(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o400);
  }
  const privateKey = parse(await readPem(file));
  const raw = rawOf(privateKey);
  return { id: keyIdOf(raw), publicKey: keyText(raw), privateKey };
}

async function readPem(file: string): Promise<string> {
  const handle = await openSealed(file);
  try {
    const { size, mode, uid } = await handle.stat();
    if (size > pemBytesMax) throw damaged('it is too large');
    if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) {
      throw damaged('others than the daemon can reach it');
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function parse(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw damaged('it holds no private key');
  }
  if (key.asymmetricKeyType !== 'ed25519') throw damaged('it is not an Ed25519 key');
  return key;
}

function damaged(reason: string): PersonaError {
  return new PersonaError('state-damaged', `the machine key ${statePlaces.machineKey}: ${reason}`);
}
