import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';

/** Bytes of an Ed25519 public key (RFC 8032). */
const keyBytes = 32;
/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410). */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

function refused(reason: string): PersonaError {
  return new PersonaError('bad-value', { name: 'the public key', reason });
}

/** The 32 bytes of a public key written as PEM or as base64. Throws bad-value. */
export function parsePublicKey(text: string): Buffer {
  const trimmed = text.trim();
  if (trimmed.includes('PRIVATE KEY')) throw refused('it is a private key: keep it to yourself');
  if (trimmed.startsWith('-----')) return fromPem(trimmed);
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed))
    throw refused('it is neither PEM nor base64 of 32 bytes');
  const raw = Buffer.from(trimmed, 'base64');
  // A second spelling of the same bytes would be a second key to whoever compares texts.
  if (raw.toString('base64') !== trimmed) throw refused('its base64 is not canonical');
  return raw;
}

function fromPem(text: string): Buffer {
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    throw refused('its PEM cannot be read');
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw refused(`it is of type ${key.asymmetricKeyType ?? '?'}, not ed25519`);
  }
  return rawOf(key);
}

/** The 32 bytes of an Ed25519 key (of the public half of a private one). */
export function rawOf(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' }).subarray(-keyBytes);
}

/** The key for verifying signatures. */
export function keyObjectOf(raw: Uint8Array): KeyObject {
  return createPublicKey({
    key: Buffer.concat([spkiPrefix, raw]),
    format: 'der',
    type: 'spki',
  });
}

/** The short name of a key: `ed25519:` and the first 16 hex digits of the SHA-256 of its bytes. */
export function keyIdOf(raw: Uint8Array): string {
  return `ed25519:${createHash('sha256').update(raw).digest('hex').slice(0, 16)}`;
}

/** How a public key is stored, shown and sent: base64 of its bytes. */
export function keyText(raw: Uint8Array): string {
  return Buffer.from(raw).toString('base64');
}
