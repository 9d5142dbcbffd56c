import { type KeyObject, sign, verify } from 'node:crypto';
import * as v from 'valibot';
import { PersonaError } from '../../ipc/errors.ts';
import { canonicalJson, parseStrictJson } from './canonical-json.ts';
import { ospBytesMax, ospMembers } from './osp-members.ts';

/** The one algorithm: pure Ed25519 over the canonical bytes of metadata.json. */
const algorithm = 'ed25519';

const schema = v.strictObject({
  /** How the machine that checks it finds the public key. */
  key_id: v.pipe(v.string(), v.regex(/^[0-9a-z][0-9a-z:._-]{0,127}$/, 'not a key id')),
  algorithm: v.literal(algorithm),
  /** 64 bytes in base64. */
  signature: v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{86}==$/, 'not 64 bytes in base64')),
});

/** The content of the member `signature`. */
export type OspSignature = v.InferOutput<typeof schema>;

/** Reads the signature member strictly. @throws PersonaError 'bad-signature'. */
export function parseOspSignature(bytes: Buffer): OspSignature {
  if (bytes.length > ospBytesMax[ospMembers.signature]) throw bad('it is too large');
  const parsed = parseStrictJson(bytes);
  if ('problem' in parsed) throw bad(`it ${parsed.problem}`);
  const result = v.safeParse(schema, parsed.value, { abortEarly: true });
  if (!result.success) throw bad(`it is wrong at ${v.getDotPath(result.issues[0]) ?? 'its top'}`);
  return result.output;
}

/** The bytes of the member for a signature. */
export function ospSignatureBytes(signature: OspSignature): Buffer {
  return Buffer.from(canonicalJson(signature), 'utf8');
}

/** Signs canonical metadata with an Ed25519 private key. */
export function signOsp(metadata: Buffer, keyId: string, privateKey: KeyObject): OspSignature {
  const signature = sign(null, metadata, privateKey).toString('base64');
  return { key_id: keyId, algorithm, signature };
}

/** True when the signature over canonical metadata was made by the holder of this public key. */
export function isSignedBy(
  metadata: Buffer,
  signature: OspSignature,
  publicKey: KeyObject,
): boolean {
  return verify(null, metadata, publicKey, Buffer.from(signature.signature, 'base64'));
}

function bad(reason: string): PersonaError {
  return new PersonaError('bad-signature', reason);
}
