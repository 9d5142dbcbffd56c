import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count } from './values.ts';

/** Methods about space. */
export const systemMethods = {
  'system.df': sync(
    'any',
    'Shows what takes space, and how much of it could be given back.',
    {},
    {
      path: v.string(),
      totalBytes: count,
      freeBytes: count,
      reserveBytes: count,
      /** Where uppers live on a loop volume of our own: that one. */
      volume: v.optional(
        v.strictObject({ image: v.string(), totalBytes: count, freeBytes: count }),
      ),
      kinds: v.array(
        v.strictObject({
          /** bases, diffs, seeds, configs, personas, uppers, volume, staging, quarantine, database, reserve. */
          kind: v.string(),
          count,
          bytes: count,
          reclaimableBytes: count,
        }),
      ),
    },
    { timeoutMs: 60_000 },
  ),
  'system.gc': change(
    'root',
    'Removes what nothing uses any more.',
    {},
    {
      removed: v.array(v.strictObject({ kind: v.string(), name: v.string(), bytes: count })),
      bytes: count,
    },
  ),
};
