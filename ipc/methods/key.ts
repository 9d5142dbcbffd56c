import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { keyIdPattern } from '../values.ts';
import { count, text } from './values.ts';

/** A signing key as this machine sees it. */
export const keyPage = v.strictObject({
  /** `ed25519:` and the first 16 hex digits of the SHA-256 of the public key. */
  id: v.string(),
  state: v.picklist(['own', 'trusted', 'revoked']),
  publicKey: v.string(),
  comment: v.optional(v.string()),
  addedMs: count,
  /** Personas that it signed. */
  personas: v.array(v.string()),
});

const keyId = v.pipe(v.string(), v.regex(keyIdPattern, 'not a key id'));

/** Methods about signing keys. */
export const keyMethods = {
  'key.list': sync(
    'any',
    'Lists the keys of this machine and their state.',
    {},
    {
      keys: v.array(keyPage),
    },
  ),
  'key.trust': change(
    'root',
    'Trusts a public key: images it signed are mounted as they are.',
    {
      /** Ed25519 public key: PEM, or base64 of its 32 bytes. */
      publicKey: v.pipe(v.string(), v.maxLength(1024)),
      comment: v.optional(text),
    },
    { key: keyPage },
  ),
  'key.revoke': change(
    'root',
    'Revokes a key: what it signed is not swapped to any more.',
    { key: keyId },
    { key: keyPage },
  ),
};
