import { PersonaError } from '../../ipc/errors.ts';
import { type OspMetadata, ospMetadataBytes } from '../images/osp-metadata.ts';
import { isSignedBy, type OspSignature } from '../images/osp-signature.ts';
import type { Key } from './key-rows.ts';
import type { Persona } from './persona.ts';
import { keyObjectOf, parsePublicKey } from './public-key.ts';

/** What a signature is worth here, now. */
export type SignatureState = 'own' | 'trusted' | 'unknown' | 'revoked' | 'none';

/** Where keys are looked up. */
export interface KnownKeys {
  key(id: string): Key | undefined;
}

const states = { machine: 'own', trusted: 'trusted', revoked: 'revoked' } as const;
/** A signature over the same bytes by the same key is genuine for ever: only the key's state is asked again. */
const genuine = new WeakMap<OspMetadata, string>();

/**
 * What this signature over this metadata is worth. A signature of a key we do not know cannot be checked and says
 * nothing. Throws bad-signature when a key we know did not make it.
 */
export function signatureState(
  keys: KnownKeys,
  metadata: OspMetadata,
  signature: OspSignature | undefined,
): SignatureState {
  if (signature === undefined) return 'none';
  const key = keys.key(signature.key_id);
  if (key === undefined) return 'unknown';
  const proof = `${key.publicKey} ${signature.signature}`;
  if (genuine.get(metadata) !== proof) {
    const publicKey = keyObjectOf(parsePublicKey(key.publicKey));
    if (!isSignedBy(ospMetadataBytes(metadata), signature, publicKey)) {
      throw new PersonaError('bad-signature', `it is not one of the key ${key.id}`);
    }
    genuine.set(metadata, proof);
  }
  return states[key.state];
}

/**
 * Whether the persona may be activated: asked at import, and again at every swap, boot and rollback.
 * Throws not-trusted, key-revoked or bad-signature.
 */
export function checkTrust(keys: KnownKeys, persona: Persona): void {
  const state = signatureState(keys, persona.metadata, persona.signature);
  if (state === 'own' || state === 'trusted') return;
  const what = `persona ${persona.name}`;
  if (state === 'revoked') {
    throw new PersonaError('key-revoked', { what, key: persona.signature?.key_id ?? '?' });
  }
  throw new PersonaError('not-trusted', { what });
}

/** Whether `checkTrust` lets it pass. */
export function isTrusted(keys: KnownKeys, persona: Persona): boolean {
  try {
    checkTrust(keys, persona);
    return true;
  } catch (error) {
    if (error instanceof PersonaError) return false;
    throw error;
  }
}

/**
 * The domain of trust of what a file holds: layers made from it serve nobody outside (SECURITY 12). What this
 * machine made is one, each trusted author is one, and so is each user for what strangers made, also after this
 * machine has rebuilt and signed it.
 */
export function trustDomain(
  state: SignatureState,
  { origin }: OspMetadata,
  signature: OspSignature | undefined,
  ownerUid: number,
): string {
  if (state === 'own' && origin !== 'rebuilt') return 'own';
  if (state === 'trusted' && signature !== undefined) return signature.key_id;
  return `stranger:${ownerUid}`;
}
