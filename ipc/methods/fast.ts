import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count, name, uid } from './values.ts';

/** What a fast partition lies on. */
const medium = v.picklist(['ram', 'zram', 'nvme']);

/** A fast partition. What it holds is lost when the machine is restarted. */
export const fastPage = v.strictObject({
  name: v.string(),
  owner: v.strictObject({ uid, name: v.optional(v.string()) }),
  on: medium,
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

/** Methods about short-lived places for data that is to be fast. */
export const fastMethods = {
  'fast.create': change(
    'any',
    'Makes a fast partition for the caller: private, bounded, gone with the boot.',
    { name, bytes: count, on: medium },
    { partition: fastPage },
  ),
  'fast.list': sync(
    'any',
    'Lists the fast partitions that the caller may see.',
    {},
    { partitions: v.array(fastPage) },
  ),
  'fast.rm': change(
    'any',
    'Removes a fast partition with all it holds.',
    { name },
    { name: v.string() },
  ),
};
