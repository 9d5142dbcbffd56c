import { chmodSync, rmdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { failedWith } from '../../kernel/errno.ts';
import { syncFolder } from '../../kernel/files.ts';
import { closeAnchor, openAnchor } from '../anchor.ts';
import { freeRange } from '../slot-ids.ts';
import { type SlotRoom, warmUp } from '../slot-room.ts';
import { insertSlot, type Slot } from '../slot-rows.ts';
import { checkSlotsOf } from '../slots.ts';

export interface CreateSlotParams {
  slot: Slot;
}

const createKind = 'slots.create-slot';

async function makeFolders(room: SlotRoom, { name, volume }: Slot): Promise<void> {
  for (const part of ['', '/uppers', '/generations']) {
    await mkdir(`${room.state}/${name}${part}`, { recursive: true, mode: 0o700 });
  }
  chmodSync(`${room.state}/${name}`, 0o700);
  await syncFolder(`${room.state}/${name}`);
  await syncFolder(room.state);
  if (volume !== undefined) await room.places.make(name, volume);
}

/** The slot with the range that is free now that nobody else chooses one: the plan's may be taken by another since. */
function withRange(room: SlotRoom, slot: Slot): Slot {
  return slot.ids === undefined ? slot : { ...slot, ids: freeRange(room.book.slots()) };
}

/** Makes the folders of a slot and its row. */
export function createSlotTask(room: SlotRoom): AnyTask {
  return defineTask<CreateSlotParams, Json>({
    kind: createKind,
    summary: ({ slot }) => `make the folders of slot ${slot.name}`,
    pointOfNoReturn: true,
    async do(context, { slot }) {
      // Others may have taken the name, and the last place, while this change waited.
      if (room.book.find(slot.name) !== undefined)
        throw new PersonaError('already-exists', { what: `slot ${slot.name}` });
      checkSlotsOf(room, slot.owner);
      const made = withRange(room, slot);
      await makeFolders(room, made);
      await context.fault('slots:made');
      return {
        saved: made as unknown as Json,
        record: (tx) => insertSlot(tx, made, context.changeId),
      };
    },
    // Not recursive: folders of a slot that was never committed are empty, and nothing else may go.
    async undo(_context, { slot }) {
      // A change that is undone has no row: this one is another's, and so are anchor and folders.
      if (room.book.find(slot.name) !== undefined) return;
      await closeAnchor(room, slot.name);
      if (slot.volume !== undefined && room.places.problem(slot) === undefined)
        rmdirIfThere(room.places.folder(slot.name, slot.volume));
      for (const part of ['/uppers', '/generations', '']) {
        rmdirIfThere(`${room.state}/${slot.name}${part}`);
      }
    },
  });
}

function rmdirIfThere(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

/** Opens the anchor of a slot that has its row. */
export function openSlotTask(room: SlotRoom): AnyTask {
  return defineTask<CreateSlotParams>({
    kind: 'slots.open-slot',
    summary: ({ slot }) => `open the place of slot ${slot.name}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, { slot: { name } }) {
      const made = context.earlier(createKind) as Slot | undefined;
      if (made !== undefined && room.book.find(name) === undefined) room.book.putSlot(made);
      const slot = room.book.slot(name);
      openAnchor(room, slot);
      warmUp(room, slot);
    },
  });
}
