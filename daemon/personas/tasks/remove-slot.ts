import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { syncFolder } from '../../kernel/files.ts';
import { clearTree, shownTree } from '../../kernel/flip.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { closeAnchor } from '../anchor.ts';
import { type AskedSlot, isTaken, thereOf } from '../asked-slot.ts';
import { refuseHeld } from '../busy.ts';
import { restoreSlot } from '../slot-recovery.ts';
import { anchorOf, type SlotRoom } from '../slot-room.ts';
import { deleteSlot, type InVolume, type Slot } from '../slot-rows.ts';
import { refuseWritten } from '../uppers-written.ts';

export interface RemoveSlotParams extends AskedSlot {
  /** Where its uppers lay when this was asked for: only in journals of earlier versions, whose `forget-slot` hands nothing over. */
  volume?: InVolume;
}

export interface EndSlotParams extends AskedSlot {
  /** What is written in it may go. Absent in journals of earlier versions, where it only was asked before. */
  discard?: boolean;
}

/** How long namespaces may keep a slot's tree once nobody is inside, and how long its trees may then take to end. */
const END_MS = 10_000;

async function endTrees(room: SlotRoom, slot: Slot): Promise<void> {
  const { name } = slot;
  const anchor = anchorOf(room, name);
  const shown = shownTree(anchor);
  const current = room.book.current(slot);
  const tree = await clearTree(anchor);
  if (tree !== undefined && shown !== undefined && current !== undefined) {
    room.keeper.hold(room.book.upper(current.upper), tree, shown.device);
  }
  if (await room.keeper.end(name, END_MS)) return;
  const held = room.keeper.of(name).flatMap(({ inside }) => inside);
  const who = held.map(({ pid }) => `pid ${pid}`).join(', ') || 'programs of an earlier generation';
  throw new PersonaError('slot-busy', { slot: name, who });
}

/** Takes the slot's trees off and waits until the kernel has ended them: nothing may write to what is then removed. */
export function endSlotTask(room: SlotRoom): AnyTask {
  return defineTask<EndSlotParams>({
    kind: 'slots.end-slot',
    summary: ({ slot }) => `take off the trees of slot ${slot}`,
    async do(context, params) {
      const slot = thereOf(room, params);
      await refuseHeld(room, slot.name, END_MS, context.signal);
      if (!params.discard) refuseWritten(room, slot.name);
      await endTrees(room, slot);
      // Those in earlier trees, and who came in at the last moment, wrote until now.
      if (!params.discard) refuseWritten(room, slot.name);
    },
    async undo(_context, { slot }) {
      if (room.book.find(slot) === undefined) return undefined;
      return await restoreSlot(room, slot);
    },
  });
}

const forgetKind = 'slots.forget-slot';

/** What `forget-slot` hands over: where the slot's uppers lay in the end. Absent: in the state tree. */
type Forgotten = Pick<Slot, 'volume'>;

/** Forgets the slot and all its generations. */
export function forgetSlotTask(room: SlotRoom): AnyTask {
  return defineTask<AskedSlot, Json>({
    kind: forgetKind,
    summary: ({ slot }) => `forget slot ${slot} and its history`,
    pointOfNoReturn: true,
    undo: 'nothing-to-undo',
    async do(_context, params) {
      const { name, volume } = thereOf(room, params);
      const saved: Forgotten = volume === undefined ? {} : { volume };
      return { saved: saved as Json, record: (tx) => deleteSlot(tx, name) };
    },
  });
}

/** Removes what a forgotten slot has left on the disk. */
export function removeSlotTask(room: SlotRoom): AnyTask {
  return defineTask<RemoveSlotParams>({
    kind: 'slots.remove-slot',
    summary: ({ slot }) => `remove the written data of slot ${slot}`,
    forward: true,
    undo: 'nothing-to-undo',
    timeoutMs: 3_600_000,
    async do(context, params) {
      const { slot } = params;
      const { volume } = (context.earlier(forgetKind) as Forgotten | undefined) ?? params;
      if (isTaken(room, params)) {
        // Repeated long after: all but a place in a volume, which no two slots share, is the other one's.
        if (volume !== undefined) await room.places.remove(slot, volume);
        return { result: { slot, freedBytes: 0 } };
      }
      await room.flattener.settled(slot, true);
      const freedBytes = room.book.uppersOf(slot).reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
      const known = room.book.find(slot);
      if (known !== undefined) await room.namespaces.drop(known);
      room.keeper.forget(slot);
      room.book.dropSlot(slot);
      await room.next.drop(slot);
      await room.records.forget(slot);
      await room.uppers.forget(slot);
      room.problems.delete(slot);
      await closeAnchor(room, slot);
      if (volume !== undefined) await room.places.remove(slot, volume);
      await context.fault('slots:removing');
      await removeTree(`${room.state}/${slot}`);
      await syncFolder(room.state);
      return { result: { slot, freedBytes } };
    },
  });
}
