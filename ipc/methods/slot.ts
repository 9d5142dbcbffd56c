import * as v from 'valibot';
import { change, sync } from '../method.ts';
import { count, name, named, path, reference, serial, uid, volumeName } from './values.ts';

/** One activation in a slot. */
export const generation = v.strictObject({
  number: serial,
  /** Absent: the clean base. */
  persona: v.optional(named),
  base: v.strictObject({ name: v.optional(v.string()), digest: v.string() }),
  state: v.picklist(['trial', 'good', 'failed']),
  /** Why it came to be. */
  reason: v.picklist(['swap', 'fresh', 'rollback', 'automatic', 'recovery']),
  startedMs: count,
  endedMs: v.optional(count),
  changeId: v.optional(serial),
  /** The writable part. `draining`: still held by someone; `sealed`: ended and immutable. */
  upper: v.strictObject({
    id: v.string(),
    state: v.picklist(['active', 'draining', 'sealed', 'discarded', 'throw-away']),
    bytes: v.optional(count),
    /** Sealed uppers that lie under it. */
    below: v.optional(count),
  }),
  /** Why it failed. */
  failure: v.optional(v.string()),
});

/** A process that has something open in a tree. */
const holder = v.strictObject({ pid: count, uid, command: v.string() });

/** A slot with what is active in it. */
export const slotPage = v.strictObject({
  name: v.string(),
  owner: v.strictObject({ uid, name: v.optional(v.string()) }),
  /** Its uppers are thrown away at the next swap. */
  ephemeral: v.boolean(),
  /** The volume that holds what is written in it; absent: the state tree does. */
  volume: v.optional(v.string()),
  /** Where the active tree is. */
  path: v.string(),
  state: v.picklist(['empty', 'active', 'broken']),
  problem: v.optional(v.string()),
  createdMs: count,
  active: v.optional(generation),
  /** Processes inside the active tree. */
  processes: v.array(holder),
  /** Earlier generations that someone still holds. */
  draining: v.array(v.strictObject({ generation, holders: v.array(holder) })),
  generations: count,
});

const busy = v.optional(v.picklist(['wait', 'kill', 'refuse']));

const swapped = {
  slot: v.string(),
  generation,
  previous: v.optional(generation),
  /** The active upper went on from an earlier generation: its state is back. */
  resumed: v.boolean(),
  timing: v.strictObject({
    prepareMs: v.number(),
    commitMs: v.number(),
    flipMs: v.number(),
    totalMs: v.number(),
  }),
};

/** Things a program in a slot may be given; everything is off unless asked for. */
export const grants = v.strictObject({
  net: v.optional(v.boolean()),
  home: v.optional(v.boolean()),
  display: v.optional(v.boolean()),
  /** The same by Wayland alone. */
  wayland: v.optional(v.boolean()),
  sound: v.optional(v.boolean()),
  gpu: v.optional(v.boolean()),
  bus: v.optional(v.boolean()),
  agent: v.optional(v.boolean()),
  /** Folders of the caller, shown at the same path. */
  folders: v.optional(
    v.pipe(v.array(v.strictObject({ path, write: v.optional(v.boolean()) })), v.maxLength(32)),
  ),
  /** Act as root inside, in a user namespace. */
  root: v.optional(v.boolean()),
});

/** Methods about slots. */
export const slotMethods = {
  'slot.create': change(
    'group',
    'Makes a slot: a place where one persona is active.',
    {
      name,
      ephemeral: v.optional(v.boolean()),
      /** Another owner than the caller: root only. */
      owner: v.optional(uid),
      /** Where what is written in it lies; absent: in the state tree. The system's is for root only. */
      volume: v.optional(volumeName),
    },
    { slot: slotPage },
  ),
  'slot.list': sync(
    'any',
    'Lists the slots that the caller may see.',
    {},
    {
      slots: v.array(slotPage),
    },
  ),
  'slot.rm': change(
    'group',
    'Removes a slot with its history and writable data.',
    {
      slot: name,
      /** Needed when it has written data. */
      discard: v.optional(v.boolean()),
      busy,
    },
    { slot: v.string(), freedBytes: count },
  ),
  'slot.move': change(
    'group',
    'Moves what is written in a slot into a volume, or back into the state tree.',
    {
      slot: name,
      /** The volume of the system is for root only. */
      to: v.picklist([...volumeName.options, 'state']),
      busy,
    },
    { slot: slotPage },
  ),
  'slot.swap': change(
    'group',
    'Replaces what is active in a slot by a persona, without a gap.',
    {
      slot: name,
      persona: reference,
      /** Start with an empty upper, not with the persona's last state here. */
      fresh: v.optional(v.boolean()),
      busy,
    },
    swapped,
  ),
  'slot.rollback': change(
    'group',
    'Goes back to an earlier generation: the last good one, a chosen one, or the clean base.',
    { slot: name, to: v.optional(serial), base: v.optional(v.boolean()), busy },
    swapped,
  ),
  'slot.history': sync(
    'any',
    'Lists the generations of a slot, the newest first.',
    { slot: name, limit: v.optional(v.pipe(count, v.maxValue(1000))) },
    { slot: v.string(), generations: v.array(generation) },
  ),
  'slot.exec': sync(
    'any',
    'Answers how to start a program in a slot; the caller starts it itself.',
    {
      slot: name,
      grants,
      /** Working folder inside the slot. */
      folder: v.optional(path),
      /** The program gets a terminal. */
      terminal: v.optional(v.boolean()),
    },
    {
      slot: v.string(),
      generation: serial,
      /** The words before the command, the program first. */
      argv: v.array(v.string()),
      /** The whole environment for the launcher. */
      environment: v.record(v.string(), v.string()),
      /** Seccomp program (BPF, base64) that argv expects on this descriptor. */
      seccomp: v.optional(v.strictObject({ fd: count, program: v.string() })),
      /** Texts that argv expects on others. */
      data: v.optional(v.array(v.strictObject({ fd: count, text: v.string() }))),
      /** What was granted or could not be, for the caller to read. */
      notes: v.array(v.string()),
    },
  ),
};
