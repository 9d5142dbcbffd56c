import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import type { SlotRoom } from './slot-room.ts';
import type { Upper } from './slot-rows.ts';

/** An empty one may be sealed, too: it was current when a removal began that did not come to its end. */
function isKnownEmpty(room: SlotRoom, slot: string, { id, root }: Upper): boolean {
  try {
    return room.uppers.isEmpty(slot, id, root);
  } catch (error) {
    // Its volume is not there, say.
    if (failedWith(error, 'ENOENT')) return false;
    throw error;
  }
}

/** True when programs have written something in a slot that is still there. */
function isWritten(room: SlotRoom, slot: string): boolean {
  return room.book
    .uppersOf(slot)
    .some((upper) => upper.state !== 'gone' && !isKnownEmpty(room, slot, upper));
}

/** Throws in-use when programs have written something in the slot. */
export function refuseWritten(room: SlotRoom, slot: string): void {
  if (!isWritten(room, slot)) return;
  throw new PersonaError('in-use', {
    what: `slot ${slot}`,
    by: 'data that programs wrote in it; say --discard to give it up',
  });
}
