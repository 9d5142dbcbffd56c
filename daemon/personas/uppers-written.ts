import { PersonaError } from '../../ipc/errors.ts';
import type { SlotRoom } from './slot-room.ts';

/** True when programs have written something in a slot that is still there. */
function isWritten(room: SlotRoom, slot: string): boolean {
  const current = room.book.current(room.book.slot(slot))?.upper;
  return room.book.uppersOf(slot).some(({ id, state, root }) => {
    if (state === 'gone') return false;
    // Empty ones are dropped when they are sealed, but for what is active.
    if (state === 'sealed' && id !== current) return true;
    return !room.uppers.isEmpty(slot, id, root);
  });
}

/** Throws in-use when programs have written something in the slot. */
export function refuseWritten(room: SlotRoom, slot: string): void {
  if (!isWritten(room, slot)) return;
  throw new PersonaError('in-use', {
    what: `slot ${slot}`,
    by: 'data that programs wrote in it; say --discard to give it up',
  });
}
