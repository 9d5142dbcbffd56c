import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count, volumeName as name } from './values.ts';

/** A volume as it stands. */
export const volumePage = v.strictObject({
  name,
  state: v.picklist(['ready', 'broken']),
  problem: v.optional(v.string()),
  /** Where it is mounted, and the image that holds it. */
  at: v.string(),
  image: v.string(),
  /** It can grow up to this. */
  limitBytes: count,
  createdMs: count,
  /** Absent where it is not mounted. */
  space: v.optional(
    v.strictObject({
      /** What it may hold, its own tables among it. */
      sizeBytes: count,
      freeBytes: count,
      /** What its image owns on the disk. */
      ownedBytes: count,
      /** What its image should own and does not: a write may fail. */
      missingBytes: count,
      /** It is read and written past the page cache of the file system below. */
      directIo: v.boolean(),
      /** The kernel was told to give none of its blocks back. */
      keepsBlocks: v.boolean(),
    }),
  ),
});

/** Methods about volumes: space of the disk that is set aside. */
export const volumeMethods = {
  'volume.create': change(
    'root',
    'Makes a volume: space of the disk that is set aside.',
    { name, bytes: count, limitBytes: v.optional(count) },
    { volume: volumePage },
  ),
  'volume.list': sync(
    'root',
    'Lists the volumes.',
    {},
    {
      volumes: v.array(volumePage),
      /** Whether space is moved between them, and by which policy; why it is not, though it should be. */
      governed: v.strictObject({
        on: v.boolean(),
        policy: v.string(),
        obstacle: v.optional(v.string()),
      }),
    },
  ),
  'volume.resize': change(
    'root',
    'Makes a volume larger or smaller, while it is in use.',
    { name, bytes: count },
    { volume: volumePage },
  ),
  'volume.rm': change(
    'root',
    'Removes a volume with all that lies in it.',
    {
      name,
      /** Needed when something lies in it. */
      discard: v.optional(v.boolean()),
    },
    { name, freedBytes: count },
  ),
};
