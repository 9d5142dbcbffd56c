import { type AnyTask, defineTask } from '../../changes/task.ts';
import { type AskedSlot, thereOf } from '../asked-slot.ts';
import { type Busy, vacate } from '../busy.ts';
import type { SlotRoom } from '../slot-room.ts';

export interface VacateParams extends AskedSlot {
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
    async do(context, params) {
      const slot = thereOf(room, params);
      const told = (inside: { pid: number }[]) =>
        context.progress({ done: 0, note: `${inside.length} programs are still inside` });
      await vacate(room, slot, params.busy, context.ownerUid, context.signal, told);
    },
  });
}
