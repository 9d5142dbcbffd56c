import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count, name, uid, volumeName } from './values.ts';

/** What a fast partition lies on. */
const media = ['ram', 'zram', 'nvme'] as const;
const medium = v.picklist(media);

/** A fast partition. What it holds is lost when the machine is restarted. */
export const fastPage = v.strictObject({
  name: v.string(),
  owner: v.strictObject({ uid, name: v.optional(v.string()) }),
  on: medium,
  /** The volume that its image lies in, on nvme. */
  volume: v.optional(volumeName),
  /** It never holds more. */
  bytes: count,
  usedBytes: count,
  /** Memory that it takes now: on zram less than what it holds. */
  memoryBytes: count,
  /** Where it is: open to its owner alone. */
  path: v.string(),
  /** `ending`: given up, and somebody still holds it. `missing`: it could not be made again. */
  state: v.picklist(['ready', 'ending', 'missing']),
  problem: v.optional(v.string()),
  createdMs: count,
  /** It was made again, empty, at this time: the machine was restarted, or its mount was taken off. */
  emptiedMs: v.optional(count),
  /** The kernel may move what it holds to swap. */
  swaps: v.optional(v.boolean()),
  /** What is written passes through the page cache of its image, too. */
  buffered: v.optional(v.boolean()),
});

/** What was measured, and what follows from it. */
export const fastChoice = v.strictObject({
  on: v.picklist([...media, 'none']),
  why: v.string(),
  /** Milliseconds of a write of 4 KiB that waits for the disk, and of a cold read of 64 KiB. `disk`: that of the state folder. */
  figures: v.array(
    v.strictObject({
      on: v.picklist([...media, 'disk']),
      syncMs: v.number(),
      readMs: v.number(),
    }),
  ),
});

/** Methods about short-lived places for data that is to be fast. */
export const fastMethods = {
  'fast.create': change(
    'any',
    'Makes a fast partition for the caller: private, bounded, gone with the boot.',
    {
      name,
      bytes: count,
      on: v.picklist([...media, 'auto']),
      /** On nvme: its image lies in this volume, and not in the state folder. */
      volume: v.optional(volumeName),
    },
    {
      /** Absent: nothing would be gained, and nothing was made. */
      partition: v.optional(fastPage),
      /** With `auto`: what was chosen. */
      choice: v.optional(fastChoice),
    },
  ),
  'fast.list': sync(
    'any',
    'Lists the fast partitions that the caller may see.',
    {},
    { partitions: v.array(fastPage) },
  ),
  'fast.resize': change(
    'any',
    'Gives a fast partition on ram another size while it is in use.',
    { name, bytes: count },
    { partition: fastPage },
  ),
  'fast.rm': change(
    'any',
    'Removes a fast partition with all it holds.',
    { name },
    { name: v.string() },
  ),
};
