import * as v from 'valibot';
import { sync } from '../method.ts';
import { servedPage } from './app.ts';
import { changeLine } from './change.ts';
import { launchProfile } from './launch.ts';
import { memoryPage } from './partitions.ts';
import { scrubPage } from './scrub.ts';
import { slotPage } from './slot.ts';
import { count, uid } from './values.ts';

/** Version of the JSON that methods answer: a field may be added within it, never changed or removed. */
export const apiVersion = 1;

const space = v.strictObject({
  path: v.string(),
  fileSystem: v.string(),
  totalBytes: count,
  freeBytes: count,
  /** Bytes that personad leaves free for journal, undo and rollback. */
  reserveBytes: count,
  /** Where uppers live: on the state tree itself, or on a loop volume of our own. */
  uppers: v.optional(v.picklist(['direct', 'loop-volume'])),
  /** That volume: its image in the state tree. */
  volume: v.optional(v.strictObject({ image: v.string(), totalBytes: count, freeBytes: count })),
});

/** One fallback in use: never silent. */
const fallback = v.strictObject({
  capability: v.string(),
  using: v.string(),
  reason: v.string(),
});

/** What the machine can do, found by doing it. */
const capability = v.strictObject({
  name: v.string(),
  /** What personad uses it for. */
  usedFor: v.string(),
  state: v.picklist(['ok', 'fallback', 'missing']),
  /** What was found, or which fallback is used. */
  detail: v.string(),
  fix: v.optional(v.string()),
});

/** How the machine was booted. */
export const bootPage = v.strictObject({
  firmware: v.picklist(['efi', 'other']),
  /** Absent where it cannot be told. */
  secureBoot: v.optional(v.boolean()),
  /** The keys of the firmware can be replaced by anyone. */
  setupMode: v.optional(v.boolean()),
  /** Of the kernel: none, integrity, confidentiality. Absent where it has no such thing. */
  lockdown: v.optional(v.string()),
  /** All of that in words. */
  text: v.string(),
  /** Settings ask for secure boot, and so nothing is changed. */
  refused: v.optional(v.literal(true)),
});

const check = v.strictObject({
  name: v.string(),
  state: v.picklist(['ok', 'warning', 'failed']),
  detail: v.string(),
  fix: v.optional(v.string()),
});

/** Methods about the daemon itself. */
export const daemonMethods = {
  'daemon.ping': sync(
    'any',
    'Answers at once, with the version of the daemon.',
    {},
    { version: v.string(), apiVersion: count, pid: count },
  ),
  'daemon.status': sync(
    'any',
    'Shows what is active, what runs and what needs attention, as far as the caller may see it.',
    {},
    {
      apiVersion: v.literal(apiVersion),
      daemon: v.strictObject({
        version: v.string(),
        pid: count,
        startedMs: count,
        /** `degraded` is read-only: recovery found something it does not dare to touch. */
        state: v.picklist(['starting', 'ready', 'degraded', 'stopping']),
        reason: v.optional(v.string()),
        /** Folder of the state tree. */
        stateFolder: v.string(),
      }),
      machine: v.strictObject({
        hostName: v.string(),
        kernel: v.string(),
        os: v.optional(v.string()),
        boot: v.optional(bootPage),
      }),
      caller: v.strictObject({ uid, access: v.picklist(['any', 'group', 'root']) }),
      slots: v.array(slotPage),
      changes: v.array(changeLine),
      space,
      /** Absent before the first look at it. */
      memory: v.optional(memoryPage),
      /** Files of bases and personas. */
      integrity: v.optional(
        v.strictObject({
          files: count,
          /** To be hashed again. */
          due: count,
          damaged: count,
          /** When the one that waits for longest was last hashed; absent when one never was. */
          oldestMs: v.optional(count),
          scrub: v.optional(scrubPage),
        }),
      ),
      /** Applications that work in memory. */
      inMemory: v.optional(v.array(servedPage)),
      /** Applications whose executables and libraries are kept in memory. */
      pinned: v.optional(
        v.array(
          v.strictObject({
            app: v.string(),
            owner: v.strictObject({ uid, name: v.optional(v.string()) }),
            files: count,
            bytes: count,
          }),
        ),
      ),
      /** Applications that run; absent when none does. */
      running: v.optional(
        v.strictObject({
          /** The last started first; `launch.list` has more of them, and more of each. */
          applications: v.array(
            v.strictObject({
              app: v.string(),
              owner: v.strictObject({ uid, name: v.optional(v.string()) }),
              profile: launchProfile,
              reason: v.string(),
              /** Where it runs: a side of the memory, a fast partition, an enclave. */
              partition: v.string(),
              /** Of one that works in memory: what was written after this moment is in memory only. */
              savedMs: v.optional(count),
            }),
          ),
          more: count,
        }),
      ),
      counts: v.strictObject({ bases: count, personas: count, slots: count }),
      fallbacks: v.array(fallback),
      /** Things that want a person: quarantine, unverified layers, failed generations kept. */
      notices: v.array(v.strictObject({ text: v.string(), command: v.optional(v.string()) })),
    },
  ),
  'daemon.doctor': sync(
    'any',
    'Checks the machine and the state tree, with the fix for what is missing.',
    {},
    {
      apiVersion: v.literal(apiVersion),
      kernel: v.string(),
      capabilities: v.array(capability),
      checks: v.array(check),
    },
    { timeoutMs: 60_000 },
  ),
};
