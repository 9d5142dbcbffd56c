import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { bootPage } from './daemon.ts';
import { scrubPage } from './scrub.ts';
import { count, path, serial, ticket } from './values.ts';

/** What a backup holds. */
const contents = {
  /** When it was made, and what of. */
  madeMs: count,
  bases: count,
  personas: count,
  slots: v.array(v.string()),
  /** Slots that were in use: their files are each as they were when they were read. */
  live: v.array(v.strictObject({ slot: v.string(), generation: serial })),
};

/** Methods about the state tree as a whole. */
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
          /** bases, diffs, seeds, configs, personas, uppers, enclaves, volume, staging, fast, quarantine, database, reserve. */
          kind: v.string(),
          count,
          bytes: count,
          reclaimableBytes: count,
        }),
      ),
    },
    { timeoutMs: 60_000 },
  ),
  'system.inventory': sync(
    'any',
    'Shows what the machine is made of.',
    {},
    {
      /** When it was looked at: the answer may be some minutes old. */
      readMs: count,
      system: v.strictObject({ maker: v.string(), model: v.string(), virtual: v.boolean() }),
      cpu: v.strictObject({
        model: v.string(),
        cores: count,
        physicalCores: count,
        maxMhz: v.optional(count),
      }),
      memory: v.strictObject({
        totalBytes: count,
        /** Empty where the firmware does not tell, or `dmidecode` is missing. */
        modules: v.array(
          v.strictObject({
            slot: v.string(),
            bytes: count,
            kind: v.string(),
            mhz: v.optional(count),
            ecc: v.optional(v.boolean()),
          }),
        ),
      }),
      disks: v.array(
        v.strictObject({
          name: v.string(),
          kind: v.picklist(['NVMe', 'SSD', 'HDD', 'other']),
          bytes: count,
          model: v.string(),
          transport: v.string(),
          removable: v.boolean(),
        }),
      ),
      /** NVMe namespaces. */
      namespaces: v.array(
        v.strictObject({
          name: v.string(),
          controller: v.string(),
          model: v.string(),
          nsid: v.optional(count),
          bytes: count,
          blockBytes: count,
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
      /** How many were removed beside those. */
      more: v.optional(count),
      /** Of all that were removed. */
      bytes: count,
    },
  ),
  'system.integrity': sync(
    'any',
    'Shows when each image was last hashed, what is damaged, and how the machine was booted.',
    {},
    {
      files: v.array(
        v.strictObject({
          /** Below the state folder. */
          file: v.string(),
          digest: v.string(),
          bytes: count,
          /** `original`: a persona file as it came, which is never mounted. */
          kind: v.picklist(['layer', 'persona', 'original']),
          bases: v.array(v.string()),
          personas: v.array(v.string()),
          /** Slots that show it now, as far as the caller may see them. */
          slots: v.array(v.string()),
          /** The kernel checks whatever is read of it. */
          sealed: v.boolean(),
          state: v.picklist(['ok', 'due', 'damaged']),
          /** When all of it was last hashed and right; absent when never, or not since it became another inode. */
          hashedMs: v.optional(count),
          problem: v.optional(v.string()),
          foundMs: v.optional(count),
        }),
      ),
      /**
       * Images that programs write in: volumes, and enclaves as far as the caller may see them. There is no digest of what is in them. Looked at
       * now: that each is the file system that was made, the errors the kernel has noted in it, and of volumes that every block is set aside.
       */
      written: v.array(
        v.strictObject({
          kind: v.picklist(['volume', 'enclave']),
          name: v.string(),
          bytes: count,
          mounted: v.boolean(),
          errors: count,
          problem: v.optional(v.string()),
        }),
      ),
      /** The look at the start of the daemon: which files are the ones that they were. */
      looked: v.optional(
        v.strictObject({
          atMs: count,
          tookMs: v.number(),
          files: count,
          changed: count,
          damaged: count,
        }),
      ),
      /** While one runs. */
      scrub: v.optional(scrubPage),
      /** When it is looked next for what is due; absent when that is off. */
      nextMs: v.optional(count),
      boot: bootPage,
    },
  ),
  'system.scrub': change(
    'root',
    'Hashes all images again.',
    {},
    {
      files: count,
      bytes: count,
      damaged: v.array(v.strictObject({ file: v.string(), problem: v.string() })),
    },
  ),
  'system.backup': change(
    'root',
    'Writes a backup of the state, while everything goes on.',
    {
      /** From `bulk.open` (down): whoever presents it gets the backup. Absent only in a dry run. */
      ticket: v.optional(ticket),
    },
    { ...contents, bytes: count, members: count },
  ),
  'system.restore': change(
    'root',
    'Puts the state of a backup in the place of the present one.',
    {
      /** The backup. */
      file: path,
      /** Also when there are bases, personas or slots: they are put aside, and kept. */
      replace: v.optional(v.boolean()),
      /** Also while slots show trees: these are taken off. */
      endSlots: v.optional(v.boolean()),
    },
    /** The daemon starts anew when this has been answered. */
    { ...contents, host: v.string() },
  ),
};
