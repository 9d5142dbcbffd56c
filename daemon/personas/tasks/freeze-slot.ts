import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { failedWith } from '../../kernel/errno.ts';
import { shownTree } from '../../kernel/flip.ts';
import { setReadOnly } from '../../kernel/fs-context.ts';
import { refuseInside } from '../busy.ts';
import { type MoveParams, toMove } from '../slot-move.ts';
import { anchorOf, type SlotRoom, warmUp } from '../slot-room.ts';
import type { Slot } from '../slot-rows.ts';

/** How long earlier trees of the slot may take to end. */
const END_MS = 10_000;

const inUse = (slot: string, by: string) =>
  new PersonaError('in-use', { what: `slot ${slot}`, by });

/** Ends what may still write to the slot's uppers, but for the tree that it shows. */
async function endOthers(room: SlotRoom, slot: Slot): Promise<void> {
  const { name } = slot;
  await room.next.drop(name);
  const ended = await room.keeper.end(name, END_MS);
  await room.flattener.settled(name, true);
  await room.next.drop(name); // what has ended may have asked for another one
  await room.uppers.forget(name);
  await room.records.flush();
  const current = room.book.current(slot)?.upper;
  const open = room.book
    .uppersOf(name)
    .some(({ id, state }) => id !== current && (state === 'active' || state === 'draining'));
  if (!ended || open) throw inUse(name, 'programs in an earlier generation of it');
}

async function freeze(room: SlotRoom, slot: Slot): Promise<void> {
  const { name } = slot;
  room.moving.add(name);
  await endOthers(room, slot);
  const shown = shownTree(anchorOf(room, name));
  if (shown === undefined) return;
  try {
    await setReadOnly(shown.at, true);
  } catch (error) {
    if (!failedWith(error, 'EBUSY')) throw error;
    throw inUse(name, 'a program that has a file in it open for writing');
  }
  await refuseInside(room, name); // whoever came in meanwhile, before it could not be written to
}

/** From here the slot shows what it showed, and nobody can write to it: not in any namespace, by no open file. */
export function freezeSlotTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.freeze-slot',
    summary: ({ slot }) => `make slot ${slot} read-only`,
    timeoutMs: 60_000,
    do: async (_context, move) => freeze(room, toMove(room, move)),
    async undo(_context, { slot }) {
      room.moving.delete(slot);
      const shown = shownTree(anchorOf(room, slot));
      if (shown !== undefined) await setReadOnly(shown.at, false);
      const known = room.book.find(slot);
      if (known !== undefined) warmUp(room, known);
    },
  });
}
