import * as v from 'valibot';
import { sync } from '../method.ts';
import { count, name } from './values.ts';

const side = v.picklist(['user', 'system']);
/** A memory knob: bytes, or no limit. */
const amount = v.union([count, v.literal('max')]);
/** A share of the time or of a whole, 0 to 1. */
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const mode = v.picklist(['observe', 'manage']);
const percent = v.pipe(count, v.maxValue(100));
/** Of the memory: the user's part, and the bounds of both; of a part: where it grows and shrinks; of the memory: one step. */
const shares = v.strictObject({
  user: percent,
  least: percent,
  most: percent,
  grow: percent,
  shrink: percent,
  step: percent,
});

/** One side, as it was seen last. What the kernel does not tell is absent. */
export const sidePage = v.strictObject({
  side,
  /** Its cgroup, below the hierarchy. */
  group: v.string(),
  /** False: there is no such group now. */
  present: v.boolean(),
  currentBytes: v.optional(count),
  anonBytes: v.optional(count),
  fileBytes: v.optional(count),
  /** tmpfs and shared memory: part of `fileBytes`, and not to be dropped. */
  shmemBytes: v.optional(count),
  swapBytes: v.optional(count),
  /** Share of the time between the last two looks in which a task waited for memory. */
  waiting: v.optional(share),
  /** The same for disks. */
  ioWaiting: v.optional(share),
  low: v.optional(amount),
  high: v.optional(amount),
});

/** Whether memory is managed, and by what. */
const choice = {
  mode,
  /** Knobs are turned now. */
  managed: v.boolean(),
  /** Why they are not, though they should be. */
  obstacle: v.optional(v.string()),
  policy: v.string(),
};

/** One write of a decision. */
const write = v.strictObject({
  side,
  knob: v.string(),
  value: amount,
  /** `theirs`, `foreign`: set by another program. `only-observed`: it would be written in mode `manage`. */
  state: v.picklist([
    'written',
    'unchanged',
    'foreign',
    'blocked',
    'refused',
    'theirs',
    'only-observed',
  ]),
  detail: v.optional(v.string()),
});

const goal = v.strictObject({ lowBytes: count, highBytes: v.optional(count) });

const why = v.array(v.strictObject({ rule: v.string(), side: v.optional(side), text: v.string() }));

/** One decision, with what it went by. */
export const decision = v.strictObject({
  atMs: count,
  policy: v.string(),
  managed: v.boolean(),
  goals: v.strictObject({ user: goal, system: goal }),
  why,
  writes: v.array(write),
});

/** One decision about the sizes of the volumes. */
export const spaceDecision = v.strictObject({
  atMs: count,
  policy: v.string(),
  /** What follows from it. */
  sizes: v.strictObject({ user: count, system: count }),
  why,
  /** Absent: nothing was to be moved. */
  move: v.optional(
    v.strictObject({
      from: side,
      to: side,
      bytes: count,
      state: v.picklist(['done', 'failed']),
      change: v.optional(count),
      detail: v.optional(v.string()),
    }),
  ),
});

const disk = v.strictObject({
  name: v.string(),
  nvme: v.boolean(),
  bytes: count,
  /** Absent before the second look. */
  rates: v.optional(
    v.strictObject({
      readBytesPerSecond: v.number(),
      writtenBytesPerSecond: v.number(),
      requestsPerSecond: v.number(),
      latencyMs: v.optional(v.number()),
      inFlight: count,
      busy: share,
    }),
  ),
});

/** Length of a row of the history. */
export const historyStep = v.picklist(['10s', '1min', '15min', '24h']);

/** One row: means over its time. */
const historyRow = v.strictObject({
  atMs: count,
  availableBytes: v.optional(v.number()),
  totalBytes: v.optional(v.number()),
  swapUsedBytes: v.optional(v.number()),
  userBytes: v.optional(v.number()),
  systemBytes: v.optional(v.number()),
  waiting: v.optional(v.number()),
  userWaiting: v.optional(v.number()),
  systemWaiting: v.optional(v.number()),
  userIoWaiting: v.optional(v.number()),
  systemIoWaiting: v.optional(v.number()),
  readBytesPerSecond: v.optional(v.number()),
  writtenBytesPerSecond: v.optional(v.number()),
  diskRequestsPerSecond: v.optional(v.number()),
  diskLatencyMs: v.optional(v.number()),
  diskInFlight: v.optional(v.number()),
  freeSpaceBytes: v.optional(v.number()),
  /** The same of each disk; of four at most. */
  disks: v.optional(
    v.array(
      v.strictObject({
        name: v.string(),
        readBytesPerSecond: v.optional(v.number()),
        writtenBytesPerSecond: v.optional(v.number()),
        requestsPerSecond: v.optional(v.number()),
        latencyMs: v.optional(v.number()),
        inFlight: v.optional(v.number()),
        busy: v.optional(v.number()),
      }),
    ),
  ),
});

/** Memory as the status page has it. */
export const memoryPage = v.strictObject({
  ...choice,
  totalBytes: count,
  availableBytes: count,
  /** Absent: there is no such group, or no memory controller. */
  userBytes: v.optional(count),
  systemBytes: v.optional(count),
  /** Share of the time in which a task of the machine waited for memory. */
  waiting: v.optional(share),
  /** Which part was in use in the last minutes, the oldest first; null where nobody looked. */
  recent: v.optional(v.strictObject({ stepMs: count, used: v.array(v.nullable(share)) })),
});

/** Methods about the shares of memory, and who decides on them. */
export const partitionMethods = {
  'partitions.show': sync(
    'any',
    'Shows how memory and disks are used, and what is set for each side.',
    {},
    {
      ...choice,
      policies: v.array(v.strictObject({ name: v.string(), summary: v.string() })),
      /** Percent. */
      shares: v.optional(shares),
      seenMs: count,
      totalBytes: count,
      availableBytes: count,
      swapTotalBytes: count,
      swapFreeBytes: count,
      waiting: v.optional(share),
      /** Version of the cgroup hierarchy that has the memory controller; absent where none has. */
      cgroupVersion: v.optional(v.picklist([1, 2])),
      sides: v.array(sidePage),
      /** Knobs that are set by personad now, and what they go back to. */
      leases: v.array(
        v.strictObject({
          group: v.string(),
          knob: v.string(),
          old: v.string(),
          value: v.string(),
          by: v.picklist(['systemd', 'cgroupfs']),
        }),
      ),
      /** Knobs that another program has set: they are left alone. */
      theirs: v.array(v.strictObject({ side, knob: v.string(), value: amount })),
      disks: v.array(disk),
      /** The io controller; absent where no hierarchy of version 2 has it. */
      io: v.optional(
        v.strictObject({
          /** Weights that the settings ask for; 0: left alone. */
          weights: v.strictObject({ user: count, system: count }),
          cost: v.boolean(),
          /** What became of what they ask for, while memory is managed. */
          set: v.array(
            v.strictObject({
              group: v.string(),
              knob: v.string(),
              value: v.string(),
              state: v.picklist(['written', 'unchanged', 'foreign', 'blocked', 'refused']),
              detail: v.optional(v.string()),
            }),
          ),
          /** Who gives the requests of each disk their turn by weights. */
          disks: v.array(
            v.strictObject({
              name: v.string(),
              by: v.picklist(['io.cost', 'bfq', 'nothing']),
              scheduler: v.string(),
            }),
          ),
        }),
      ),
      /** The volumes; absent where there is none. */
      space: v.optional(
        v.strictObject({
          /** The policy moves space between them. */
          on: v.boolean(),
          policy: v.string(),
          /** Why it cannot, though it should. */
          obstacle: v.optional(v.string()),
          /** Those that can be used. */
          sides: v.array(
            v.strictObject({ side, sizeBytes: count, usedBytes: count, mostBytes: count }),
          ),
        }),
      ),
      remarks: v.array(v.string()),
    },
  ),
  'partitions.explain': sync(
    'any',
    'Shows why the last decision is as it is, and the last ones that changed something.',
    {},
    {
      last: v.optional(decision),
      moves: v.array(decision),
      /** The same of the volumes; absent where space is not governed. */
      space: v.optional(
        v.strictObject({ last: v.optional(spaceDecision), moves: v.array(spaceDecision) }),
      ),
    },
  ),
  'partitions.history': sync(
    'any',
    'Shows how memory and disks were used.',
    { step: v.optional(historyStep) },
    { stepMs: count, rows: v.array(historyRow) },
  ),
  'partitions.policy': sync(
    'root',
    'Chooses the policy, and whether it may turn knobs, until the daemon ends.',
    { policy: v.optional(name), mode: v.optional(mode) },
    {
      ...choice,
      /** Knobs that went back to what they were. */
      returned: v.array(v.strictObject({ group: v.string(), knob: v.string(), state: v.string() })),
    },
    { timeoutMs: 60_000 },
  ),
  'partitions.set': sync(
    'root',
    'Sets the parts of both sides, and where they change, until the daemon ends.',
    v.partial(shares).entries,
    { shares },
    { timeoutMs: 60_000 },
  ),
};
