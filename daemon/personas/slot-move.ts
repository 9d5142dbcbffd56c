import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import { type AskedSlot, thereOf } from './asked-slot.ts';
import type { Busy } from './busy.ts';
import type { SlotRoom } from './slot-room.ts';
import type { InVolume, Slot } from './slot-rows.ts';
import type { SlotCaller } from './slots.ts';

/** A slot on its way from one place of its uppers to another; absent: the state tree. */
export interface MoveParams extends AskedSlot {
  from?: InVolume;
  to?: InVolume;
}

/** Rows, names and the blocks that a file system takes for itself. */
const SPARE_BYTES = 1024 ** 2;

const task = (kind: string, params: object): TaskSpec => ({ kind, params: params as Json });

function checkMovable(room: SlotRoom, slot: Slot, to: string): void {
  if ((slot.volume?.name ?? 'state') === to)
    throw new PersonaError('bad-value', { name: to, reason: `slot ${slot.name} lies there` });
  if (slot.ephemeral)
    throw new PersonaError('bad-value', {
      name: slot.name,
      reason: 'it is a throw-away slot, which keeps nothing: remove it and make it anew there',
    });
  const problem = room.places.problem(slot) ?? room.problems.get(slot.name);
  if (problem !== undefined)
    throw new PersonaError('state-damaged', `slot ${slot.name}: ${problem}`);
}

/**
 * The slot that is to be moved, which lies where it lay when this was asked for. Throws slot-not-found, and bad-value when it was
 * moved since: where it is moved to may be where it lies.
 */
export function toMove(room: SlotRoom, move: MoveParams): Slot {
  const slot = thereOf(room, move);
  if (slot.volume?.folder !== move.from?.folder)
    throw new PersonaError('bad-value', {
      name: slot.name,
      reason: `it was moved to ${wordsOf(slot.volume)} since this was asked for`,
    });
  return slot;
}

async function bytesOf(room: SlotRoom, slot: Slot): Promise<number> {
  let sum = SPARE_BYTES;
  for (const { id, state, bytes } of room.book.uppersOf(slot.name))
    if (state !== 'gone') sum += bytes ?? (await room.uppers.size(slot.name, id));
  return sum;
}

/**
 * Moves what is written in a slot into a volume, or back into the state tree (`state`). Throws bad-value, volume-not-found,
 * state-damaged, no-space; programs inside are refused by its first step unless `busy` says otherwise.
 */
export async function planMove(
  room: SlotRoom,
  params: { slot: string; to: string; busy?: Busy | undefined },
  caller: SlotCaller,
): Promise<Plan> {
  const slot = room.book.slot(params.slot);
  checkMovable(room, slot, params.to);
  const { name, createdMs, volume: from } = slot;
  const to = params.to === 'state' ? undefined : room.places.fresh(name, params.to);
  const bytes = await bytesOf(room, slot);
  if (to !== undefined && room.places.freeBytes(to) < bytes)
    throw new PersonaError('no-space', {
      needed: formatSize(bytes),
      free: formatSize(room.places.freeBytes(to)),
      path: `volume ${to.name}`,
    });
  const move: MoveParams = { slot: name, createdMs, ...(from && { from }), ...(to && { to }) };
  return {
    kind: 'slot.move',
    summary: `move what is written in slot ${name} to ${wordsOf(to)}`,
    ownerUid: caller.uid,
    holds: [
      `slot:${name}`,
      'shared:removal:all',
      ...[from, to].flatMap((place) =>
        place === undefined ? [] : [`shared:volume:${place.name}`],
      ),
    ],
    tasks: [
      task('slots.vacate-slot', { slot: name, createdMs, busy: params.busy ?? 'refuse' }),
      task('slots.freeze-slot', move),
      task('slots.copy-uppers', move),
      task('slots.prepare-moved', move),
      task('slots.commit-move', move),
      task('slots.show-moved', move),
      task('slots.remove-moved', move),
    ],
    needs: { bytes: to === undefined ? bytes : SPARE_BYTES },
  };
}

/** A place, for people. */
export function wordsOf(place: InVolume | undefined): string {
  return place === undefined ? 'the state tree' : `volume ${place.name}`;
}
