import { PersonaError } from '../../ipc/errors.ts';
import type { SlotRoom } from './slot-room.ts';
import type { Slot } from './slot-rows.ts';

/** The slot that a change was asked for, which may have waited since. */
export interface AskedSlot {
  slot: string;
  /** When it was made: another slot may have its name by now. Absent in journals of earlier versions. */
  createdMs?: number;
}

/** True when the name is that of another slot by now. */
export function isTaken(room: SlotRoom, { slot, createdMs }: AskedSlot): boolean {
  const known = room.book.find(slot);
  return known !== undefined && createdMs !== undefined && known.createdMs !== createdMs;
}

/** The slot as it is now. Throws slot-not-found when it went while the change waited, be there another one of its name. */
export function thereOf(room: SlotRoom, asked: AskedSlot): Slot {
  if (isTaken(room, asked)) throw new PersonaError('slot-not-found', { slot: asked.slot });
  return room.book.slot(asked.slot);
}
