import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { after, count, input, more, name, reference } from './values.ts';

/** An immutable OS root tree. */
export const basePage = v.strictObject({
  name: v.string(),
  digest: v.string(),
  /** Bytes of the image. */
  bytes: count,
  entries: v.optional(count),
  /** What it was made from: host, folder, tar, oci, ext4, squashfs, erofs, ... */
  source: v.string(),
  os: v.optional(
    v.strictObject({
      id: v.optional(v.string()),
      version: v.optional(v.string()),
      title: v.optional(v.string()),
    }),
  ),
  importedMs: count,
  usedBy: v.strictObject({ personas: v.array(v.string()), slots: v.array(v.string()) }),
});

/** Methods about bases. */
export const baseMethods = {
  'base.import': change(
    'group',
    'Imports an OS root tree as a base; a path or the running system only for root.',
    {
      name,
      source: v.variant('kind', [...input.options, v.strictObject({ kind: v.literal('host') })]),
      /** The partition of a disk image, counted from 1. */
      partition: v.optional(v.pipe(count, v.minValue(1), v.maxValue(128))),
    },
    {
      base: basePage,
      /** The same content was there before; only the name is new. */
      existed: v.boolean(),
    },
  ),
  'base.list': sync(
    'any',
    'Lists the bases by name.',
    { after },
    { bases: v.array(basePage), more },
  ),
  'base.show': sync('any', 'Shows one base.', { base: reference }, { base: basePage }),
  'base.rm': change(
    'group',
    'Removes a base that no persona and no slot uses.',
    { base: reference },
    { name: v.string(), digest: v.string(), freedBytes: count },
  ),
};
