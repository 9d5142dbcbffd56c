import { setTimeout as pause } from 'node:timers/promises';
import type { Fd } from '../kernel/fd.ts';
import { flip, shownTree } from '../kernel/flip.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { anchorOf, flipWayOf, type SlotRoom } from './slot-room.ts';
import type { Upper } from './slot-rows.ts';

/** A descriptor that nobody needs any more is closed this much after the swap: not in the answer's way. */
const closeDelayMs = 5;

/**
 * Shows a detached tree in its slot in place of what is there, and gives the replaced one to the keeper.
 * From success on the caller no longer owns `mount`. On failure the slot shows what it showed.
 * Resolves with the milliseconds from the first step to the moment the path showed the new tree.
 * @param left the upper of what is shown now; undefined for an empty slot.
 */
export async function showTree(
  room: SlotRoom,
  slot: string,
  mount: Fd,
  left: Upper | undefined,
): Promise<number> {
  const anchor = anchorOf(room, slot);
  const { device } = statMount(mount);
  const startedMs = performance.now();
  const { old, oldDevice = '', settled } = await flip(anchor, mount, flipWayOf(room));
  const flipMs = performance.now() - startedMs;
  if (old !== undefined && oldDevice !== device && left !== undefined) {
    room.keeper.hold(left, old, oldDevice);
  } else if (old !== undefined) {
    // The same superblock shown anew, or one we know nothing of: nothing to keep.
    old
      .closeLater()
      .catch((error: unknown) => room.log.warn({ err: error }, 'cannot close a tree'));
  }
  const ended: Promise<unknown> = settled
    .catch((error: unknown) => room.log.warn({ err: error, slot }, 'cannot take the old tree off'))
    .then(() => pause(closeDelayMs))
    .then(() => mount.closeLater())
    .catch((error: unknown) => room.log.warn({ err: error, slot }, 'cannot close a tree'))
    .finally(() => void room.settling.delete(ended));
  room.settling.add(ended);
  if (shownTree(anchor)?.device !== device) {
    // Somebody else mounted there: the flip itself has happened and cannot be taken back.
    room.problems.set(slot, `${anchor}/root shows something that is not of this slot`);
  } else room.problems.delete(slot);
  return flipMs;
}
