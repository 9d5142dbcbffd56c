import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { PersonaError } from '../../ipc/errors.ts';
import { digestPattern, namePattern } from '../../ipc/values.ts';
import { type CanonicalValue, canonicalJson, parseStrictJson } from './canonical-json.ts';
import { ospBytesMax, ospContentNames, ospFormatVersion, ospMembers } from './osp-members.ts';

const text = (most: number) =>
  v.pipe(v.string(), v.maxLength(most), v.check(isPrintable, 'control characters'));
const digest = v.pipe(v.string(), v.regex(digestPattern, 'not sha256:HEX'));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const word = v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'not a plain word'));

/** Time to the second in UTC, as 2026-01-31T12:00:00Z. */
const moment = v.pipe(
  v.string(),
  v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'not a time like 2026-01-31T12:00:00Z'),
  v.check((value) => !Number.isNaN(Date.parse(value)), 'not a time that exists'),
);

const member = v.strictObject({
  size: count,
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
});

/** What metadata.json holds. Unknown keys are refused: a later format has a later number. */
const schema = v.strictObject({
  format_version: v.literal(ospFormatVersion),
  name: v.pipe(v.string(), v.regex(namePattern, 'not a name')),
  version: word,
  description: text(4096),
  creator: text(256),
  created: moment,
  target_os: v.strictObject({ id: word, version_id: text(64), architecture: word }),
  base_digest: digest,
  required_resources: v.strictObject({
    cpus: v.optional(count),
    memory_bytes: v.optional(count),
    disk_bytes: v.optional(count),
  }),
  members: v.strictObject(
    Object.fromEntries(ospContentNames.map((name) => [name, member])) as Record<
      (typeof ospContentNames)[number],
      typeof member
    >,
  ),
  /** How its diff image came to be: written here, rebuilt from a stranger's, taken from a machine. */
  origin: v.picklist(['created', 'rebuilt', 'captured']),
  /** Of a rebuilt one: the identity of what it was rebuilt from. */
  origin_digest: v.optional(digest),
});

/** The content of metadata.json. */
export type OspMetadata = v.InferOutput<typeof schema>;

function isPrintable(value: string): boolean {
  return value.isWellFormed() && !/[\0-\x08\x0b-\x1f\x7f]/.test(value);
}

/**
 * Reads metadata.json strictly.
 * @throws PersonaError 'format-too-new' before anything else is judged, 'bad-persona' for the rest.
 */
export function parseOspMetadata(bytes: Buffer): OspMetadata {
  if (bytes.length > ospBytesMax[ospMembers.metadata]) throw bad('is too large');
  const parsed = parseStrictJson(bytes);
  if ('problem' in parsed) throw bad(parsed.problem);
  const version = (parsed.value as { format_version?: unknown } | null)?.format_version;
  if (typeof version === 'number' && version > ospFormatVersion) {
    throw new PersonaError('format-too-new', { found: version, known: ospFormatVersion });
  }
  return checkOspMetadata(parsed.value);
}

/** Checks a value against the schema. @throws PersonaError 'bad-persona' naming the first fault. */
export function checkOspMetadata(value: unknown): OspMetadata {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue) ?? 'it';
  throw bad(`is wrong at ${place} (${issue.message.slice(0, 200)})`);
}

/** The one true form of metadata.json: what is hashed and signed. */
export function ospMetadataBytes(metadata: OspMetadata): Buffer {
  return Buffer.from(canonicalJson(metadata as unknown as CanonicalValue), 'utf8');
}

/** The identity of a persona: the digest of its canonical metadata, which holds all other digests. */
export function ospIdentity(metadata: OspMetadata): string {
  return `sha256:${createHash('sha256').update(ospMetadataBytes(metadata)).digest('hex')}`;
}

function bad(reason: string): PersonaError {
  return new PersonaError('bad-persona', `${ospMembers.metadata} ${reason}`);
}
