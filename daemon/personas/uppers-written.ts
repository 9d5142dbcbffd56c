import type { SlotRoom } from './slot-room.ts';

/** True when programs have written something in a slot that is still there. */
export function isWritten(room: SlotRoom, slot: string): boolean {
  return room.book.uppersOf(slot).some(({ id, state, root }) => {
    if (state === 'gone') return false;
    if (state === 'sealed') return true; // empty ones are dropped when they are sealed
    return !room.uppers.isEmpty(slot, id, root);
  });
}
