import * as v from 'valibot';
import { change, sync } from '../method.ts';
import {
  after,
  count,
  digest,
  environment,
  input,
  more,
  name,
  path,
  reference,
  text,
  ticket,
} from './values.ts';

const layer = v.strictObject({
  kind: v.picklist(['base', 'diff', 'apps', 'seed', 'config']),
  digest: v.string(),
  bytes: count,
});

/** What its signature is worth on this machine, now. */
const signature = v.strictObject({
  state: v.picklist(['own', 'trusted', 'unknown', 'revoked', 'none']),
  key: v.optional(v.string()),
  /** How the image came to be: by our writer from a tree, or rebuilt from a foreign image. */
  origin: v.optional(v.picklist(['created', 'rebuilt', 'captured'])),
});

/** An imported persona. */
export const personaPage = v.strictObject({
  name: v.string(),
  /** The identity: digest of the canonical metadata. */
  digest: v.string(),
  base: v.strictObject({ name: v.optional(v.string()), digest: v.string() }),
  description: v.optional(v.string()),
  creator: v.optional(v.string()),
  version: v.optional(v.string()),
  createdMs: v.optional(count),
  importedMs: count,
  /** Bytes of the file in the store. */
  bytes: count,
  signature,
  layers: v.array(layer),
  environment: v.optional(v.record(v.string(), v.string())),
  /** Digest of the file as it came, when it was repacked. */
  originDigest: v.optional(v.string()),
  /** Suid files, capabilities and device nodes in it. */
  privileged: v.optional(v.array(v.string())),
  usedBy: v.strictObject({ slots: v.array(v.string()) }),
});

/** One difference between two personas, as one would see it in the tree. */
export const difference = v.strictObject({
  op: v.picklist(['added', 'removed', 'changed']),
  path: v.string(),
  type: v.string(),
  bytesBefore: v.optional(count),
  bytesAfter: v.optional(count),
  /** For `changed`: content, mode, owner, time, xattrs, target, type. */
  what: v.optional(v.array(v.string())),
});

/** Methods about personas. */
export const personaMethods = {
  'persona.create': change(
    'group',
    'Makes a persona from a changed tree or a diff image of a base, signs and imports it.',
    {
      name,
      base: reference,
      /** The wanted tree (folder, tar, image), or ... */
      tree: v.optional(input),
      /** ... the ready difference (OCI layer tar, squashfs, ext4 or erofs image). */
      diff: v.optional(input),
      seed: v.optional(input),
      config: v.optional(input),
      applications: v.optional(input),
      description: v.optional(text),
      version: v.optional(text),
      environment: v.optional(environment),
      /** Suid files, capabilities and device nodes are wanted: root only. */
      allowPrivileged: v.optional(v.boolean()),
    },
    { persona: personaPage },
  ),
  'persona.import': change(
    'group',
    'Imports a persona file; what no trusted key signed is rebuilt first.',
    {
      source: input,
      /** Another name than the one in the file. */
      name: v.optional(name),
      allowPrivileged: v.optional(v.boolean()),
    },
    { persona: personaPage, existed: v.boolean(), rebuilt: v.boolean() },
  ),
  'persona.list': sync(
    'any',
    'Lists the personas by name.',
    { after },
    { personas: v.array(personaPage), more },
  ),
  'persona.show': sync(
    'any',
    'Shows one persona.',
    { persona: reference },
    { persona: personaPage },
  ),
  'persona.verify': change(
    'group',
    'Reads every layer of a persona again and checks digests and signature.',
    { persona: reference },
    {
      ok: v.boolean(),
      checks: v.array(v.strictObject({ what: v.string(), ok: v.boolean(), detail: v.string() })),
    },
  ),
  'persona.export': sync(
    'group',
    'Gives a ticket to download a persona file.',
    {
      persona: reference,
      /** The bytes as they came, not as they were repacked. */
      original: v.optional(v.boolean()),
    },
    { ticket, bytes: count, digest, fileName: v.string() },
    { timeoutMs: 60_000 },
  ),
  'persona.rm': change(
    'group',
    'Removes a persona that no slot uses.',
    { persona: reference },
    { name: v.string(), digest: v.string(), freedBytes: count },
  ),
  // What a persona or a base holds is for those who may put it into a slot: names in closed folders, too.
  'persona.diff': sync(
    'group',
    'Lists what differs between two personas (or a persona and its base).',
    {
      from: reference,
      to: reference,
      /** Only what lies after this path in the order of the list. */
      after: v.optional(v.string()),
      /** Only below this folder. */
      under: v.optional(path),
      limit: v.optional(v.pipe(count, v.maxValue(2000))),
    },
    {
      differences: v.array(difference),
      /** More follows; ask again with `after` = the last path. */
      more: v.boolean(),
      totals: v.strictObject({
        added: count,
        removed: count,
        changed: count,
        bytesAdded: count,
        bytesRemoved: count,
      }),
    },
    { timeoutMs: 300_000 },
  ),
};
