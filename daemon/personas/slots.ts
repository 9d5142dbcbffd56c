import { PersonaError } from '../../ipc/errors.ts';
import { checkName } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import { accountOf } from '../kernel/accounts.ts';
import type { AskedSlot } from './asked-slot.ts';
import type { Busy } from './busy.ts';
import { activatableOf, before, type Target } from './generation.ts';
import { askedAgain } from './persona-source.ts';
import { freeRange } from './slot-ids.ts';
import type { SlotRoom } from './slot-room.ts';
import type { Slot } from './slot-rows.ts';
import { refuseWritten } from './uppers-written.ts';

/** Who asks, as the kernel recorded it. */
export interface SlotCaller {
  uid: number;
  gid: number;
}

/** Slots of one user who is not root: each holds a mount, uppers and history. */
const SLOTS_PER_OWNER_MAX = 16;
/** Trees of one slot that programs still hold: more means that something never ends. */
const DRAINING_MAX = 64;
/** Rows and folders of one change, a few kilobytes each; what programs write comes later. */
const SWAP_BYTES = 64 * 1024;

const task = (kind: string, params: object): TaskSpec => ({ kind, params: params as Json });

/** Throws limit-exceeded when the account of this uid has all the slots it may have; subordinate ids count to it. */
export function checkSlotsOf(room: SlotRoom, owner: number): void {
  if (owner === 0) return;
  const account = room.accountOf(owner);
  const theirs = room.book.slots().filter((slot) => room.accountOf(slot.owner) === account);
  if (theirs.length < SLOTS_PER_OWNER_MAX) return;
  throw new PersonaError('limit-exceeded', {
    what: 'the number of your slots',
    limit: SLOTS_PER_OWNER_MAX,
  });
}

/** Makes a slot for the caller, or for `owner` when root says so. Throws already-exists, bad-name, limit-exceeded. */
export function planCreate(
  room: SlotRoom,
  params: {
    name: string;
    ephemeral?: boolean | undefined;
    owner?: number | undefined;
    volume?: string | undefined;
  },
  caller: SlotCaller,
): Plan {
  const name = checkName(params.name);
  if (room.book.find(name) !== undefined) {
    throw new PersonaError('already-exists', { what: `slot ${name}` });
  }
  const owner = params.owner ?? caller.uid;
  checkSlotsOf(room, owner);
  // Not the group the caller happens to act in: after `newgrp persona` that is everybody's who may use the daemon.
  const gid = accountOf(owner)?.gid ?? (owner === caller.uid ? caller.gid : undefined);
  if (gid === undefined) {
    throw new PersonaError('bad-value', {
      name: 'the owner',
      reason: `uid ${owner} has no account on this machine, so its group is not known; it can make the slot itself`,
    });
  }
  const slot: Slot = {
    name,
    owner,
    gid,
    ephemeral: params.ephemeral === true,
    ...(owner === 0 && room.ways.idmap ? { ids: freeRange(room.book.slots()) } : {}),
    ...(params.volume === undefined ? {} : { volume: room.places.fresh(name, params.volume) }),
    createdMs: room.now(),
  };
  return {
    kind: 'slot.create',
    summary: `make slot ${name}`,
    ownerUid: caller.uid,
    // Ranges of ids, and the places of an account, are handed out one at a time.
    holds: [
      `slot:${name}`,
      `slots-of:${room.accountOf(owner)}`,
      ...(slot.ids === undefined ? [] : ['slot-ids:all']),
      ...(slot.volume === undefined ? [] : [`shared:volume:${slot.volume.name}`]),
    ],
    tasks: [task('slots.create-slot', { slot }), task('slots.open-slot', { slot })],
    needs: { bytes: SWAP_BYTES },
  };
}

/** Removes a slot with everything in it. Throws in-use when it has data and `discard` was not said. */
export function planRemove(
  room: SlotRoom,
  params: { slot: string; discard?: boolean | undefined; busy?: Busy | undefined },
  caller: SlotCaller,
): Plan {
  const { name, createdMs } = room.book.slot(params.slot);
  const going: AskedSlot = { slot: name, createdMs };
  const discard = params.discard === true;
  if (!discard) refuseWritten(room, name);
  return {
    kind: 'slot.rm',
    summary: `remove slot ${name}`,
    ownerUid: caller.uid,
    holds: [`slot:${name}`, 'shared:removal:all'],
    tasks: [
      task('slots.vacate-slot', { ...going, busy: params.busy ?? 'refuse' }),
      task('slots.end-slot', { ...going, discard }),
      task('slots.forget-slot', going),
      task('slots.remove-slot', going),
    ],
    needs: { rescue: true },
  };
}

function planTarget(
  room: SlotRoom,
  slot: Slot,
  target: Target,
  busy: Busy | undefined,
  caller: SlotCaller,
): Plan {
  room.places.check(slot);
  if (room.keeper.of(slot.name).filter(({ inside }) => inside.length > 0).length >= DRAINING_MAX) {
    throw new PersonaError('limit-exceeded', {
      what: `the number of earlier trees of slot ${slot.name} with programs inside`,
      limit: DRAINING_MAX,
    });
  }
  const { persona, base } = target.what;
  const name = persona?.name ?? `the clean base ${base.name ?? base.digest}`;
  const rollback = target.reason === 'rollback';
  const asked: AskedSlot = { slot: slot.name, createdMs: slot.createdMs };
  return {
    kind: rollback ? 'slot.rollback' : 'slot.swap',
    summary: rollback
      ? `take slot ${slot.name} back to ${name}`
      : `swap slot ${slot.name} to ${name}`,
    ownerUid: caller.uid,
    holds: [
      `slot:${slot.name}`,
      `shared:base:${base.digest}`,
      ...(persona === undefined ? [] : [`shared:persona:${persona.digest}`]),
    ],
    tasks: [
      ...(busy === undefined ? [] : [task('slots.vacate-slot', { ...asked, busy })]),
      task('slots.prepare-tree', { ...asked, target }),
      task('slots.commit-generation', asked),
      task('slots.show-tree', { slot: slot.name }),
    ],
    needs: rollback ? { rescue: true } : { bytes: SWAP_BYTES },
  };
}

/** Replaces what is active in a slot by a persona, on its last state here or, with `fresh`, on an empty one. */
export async function planSwap(
  room: SlotRoom,
  params: {
    slot: string;
    persona: string;
    fresh?: boolean | undefined;
    busy?: Busy | undefined;
  },
  caller: SlotCaller,
): Promise<Plan> {
  const slot = room.book.slot(params.slot);
  const what = await room.source.persona(params.persona);
  const reason = params.fresh === true ? 'fresh' : 'swap';
  return planTarget(room, slot, { what, reason }, params.busy, caller);
}

/** Goes back: to a generation by number, to the clean base of what is active, or to the last good generation before it. */
export async function planRollback(
  room: SlotRoom,
  params: {
    slot: string;
    to?: number | undefined;
    base?: boolean | undefined;
    busy?: Busy | undefined;
  },
  caller: SlotCaller,
): Promise<Plan> {
  const slot = room.book.slot(params.slot);
  return planTarget(room, slot, await rollbackTarget(room, slot, params), params.busy, caller);
}

async function rollbackTarget(
  room: SlotRoom,
  slot: Slot,
  { to, base }: { to?: number | undefined; base?: boolean | undefined },
): Promise<Target> {
  const current = room.book.current(slot);
  if (current === undefined) throw new PersonaError('slot-empty', { slot: slot.name });
  if (base === true) {
    if (to !== undefined) {
      throw new PersonaError('bad-value', {
        name: '--to',
        reason: 'it cannot stand beside --base',
      });
    }
    return { what: await room.source.base(current.base.digest), reason: 'rollback' };
  }
  const goal = to === undefined ? before(room.book, slot) : room.book.generation(slot.name, to);
  if (goal.state === 'failed') {
    throw new PersonaError('bad-value', {
      name: `generation ${goal.number}`,
      reason: 'it has failed',
    });
  }
  if (goal.number === current.number) {
    throw new PersonaError('bad-value', {
      name: `generation ${goal.number}`,
      reason: 'it is active',
    });
  }
  const { layers } = await askedAgain(room.source, goal);
  return {
    what: { ...activatableOf(goal), layers },
    reason: 'rollback',
    returnsTo: goal.number,
  };
}

/** The answer of a swap or rollback, from what the change gave. Throws when the slot returned to what it had. */
export function swapAnswer<T>(given: Json | undefined): T {
  const failure = (given as { failure?: { message?: string } } | undefined)?.failure;
  if (failure !== undefined) {
    throw new PersonaError('check-failed', { check: 'show', reason: failure.message ?? 'unknown' });
  }
  if (given === undefined) throw new PersonaError('internal', 'the change gave no result');
  return given as T;
}
