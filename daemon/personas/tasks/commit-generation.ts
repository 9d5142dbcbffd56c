import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { bootId } from '../../kernel/clock.ts';
import { type AskedSlot, thereOf } from '../asked-slot.ts';
import type { SlotRoom } from '../slot-room.ts';
import { type Generation, insertGeneration, putUpper, type Upper } from '../slot-rows.ts';
import { bagOf, type SwapBag } from './swap-bag.ts';

function generationOf(room: SlotRoom, bag: SwapBag, slot: string, changeId: number): Generation {
  const { what, reason, returnsTo } = bag.target;
  return {
    slot,
    number: room.book.nextNumber(slot),
    ...(what.persona === undefined ? {} : { persona: what.persona }),
    base: what.base,
    upper: bag.tree.upper.id,
    layers: what.layers,
    environment: what.environment ?? {},
    state: 'trial',
    reason,
    ...(returnsTo === undefined ? {} : { returnsTo }),
    startedMs: room.now(),
    changeId,
  };
}

/** Writes the generation down: from here a swap only goes forward. One transaction with the journal. */
export function commitGenerationTask(room: SlotRoom): AnyTask {
  return defineTask<AskedSlot>({
    kind: 'slots.commit-generation',
    summary: ({ slot }) => `record the new generation of slot ${slot}`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(context, asked) {
      const bag = bagOf(context);
      if (bag === undefined) throw new PersonaError('internal', 'no tree was prepared');
      const slot = thereOf(room, asked);
      const generation = generationOf(room, bag, slot.name, context.changeId);
      const upper: Upper = { ...bag.tree.upper, state: 'active', boot: bootId() };
      const previous = room.book.current(slot);
      const left = previous === undefined ? undefined : room.book.upper(previous.upper);
      bag.committed = { generation, upper };
      return {
        record: (tx) => {
          if (left !== undefined && left.id !== upper.id)
            putUpper(tx, { ...left, state: 'draining' });
          putUpper(tx, upper);
          insertGeneration(tx, generation, previous?.number);
        },
      };
    },
  });
}
