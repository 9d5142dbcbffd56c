import { type AnyTask, defineTask } from '../../changes/task.ts';
import { type Busy, vacate } from '../busy.ts';
import type { SlotRoom } from '../slot-room.ts';

export interface VacateParams {
  slot: string;
  busy: Busy;
}

const WORDS: Record<Busy, string> = {
  wait: 'wait until no program is left in slot',
  kill: 'end the programs in slot',
  refuse: 'make sure that no program is in slot',
};

/** A day: who asks to wait may mean a long time, and can abort. */
const WAIT_MS = 24 * 3_600_000;

/** Deals with programs inside before anything else happens. */
export function vacateSlotTask(room: SlotRoom): AnyTask {
  return defineTask<VacateParams>({
    kind: 'slots.vacate-slot',
    summary: ({ slot, busy }) => `${WORDS[busy]} ${slot}`,
    ephemeral: true,
    undo: 'nothing-to-undo',
    timeoutMs: WAIT_MS,
    async do(context, { slot, busy }) {
      const told = (inside: { pid: number }[]) =>
        context.progress({ done: 0, note: `${inside.length} programs are still inside` });
      await vacate(room, room.book.slot(slot), busy, context.ownerUid, context.signal, told);
    },
  });
}
