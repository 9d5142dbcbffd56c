import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import { statMount } from '../../kernel/stat-mount.ts';
import { type AskedSlot, thereOf } from '../asked-slot.ts';
import { continues, type Target } from '../generation.ts';
import { askedAgain } from '../persona-source.ts';
import { stackDigest } from '../slot-book.ts';
import type { SlotRoom } from '../slot-room.ts';
import { discardTree, newTree, type Tree, treeAfter } from '../tree.ts';
import { bagOf, dropBag, putBag } from './swap-bag.ts';

export interface PrepareParams extends AskedSlot {
  target: Target;
}

async function prepare(room: SlotRoom, context: TaskContext, params: PrepareParams): Promise<void> {
  const startedMs = performance.now();
  const slot = thereOf(room, params);
  // The change may have waited for a day: for programs inside, or for another change.
  const { layers } = await askedAgain(room.source, params.target.what);
  const target: Target = { ...params.target, what: { ...params.target.what, layers } };
  const from = continues(room.book, slot, target, stackDigest(layers));
  const tree =
    from === undefined
      ? await newTree(room, slot, layers, [])
      : await treeAfter(room, slot, layers, room.book.upper(from.upper));
  putBag(context, { startedMs, preparedMs: performance.now(), target, tree });
}

/** Puts everything back as it was before `prepare`. */
async function discard(room: SlotRoom, tree: Tree): Promise<void> {
  const { mount, upper, again } = tree;
  if (!again) {
    await discardTree(room, tree);
  } else if (room.book.current(room.book.slot(upper.slot))?.upper === upper.id) {
    await mount.closeLater(); // a copy of what the slot shows
  } else {
    room.keeper.hold(upper, mount, statMount(mount).device);
  }
}

/** Makes the new tree, attached nowhere. Its effect dies with the process. */
export function prepareTreeTask(room: SlotRoom): AnyTask {
  return defineTask<PrepareParams>({
    kind: 'slots.prepare-tree',
    summary: ({ slot, target }) => {
      const { persona, layers } = target.what;
      const name = persona?.name ?? 'the clean base';
      return `join ${layers.length} layers of ${name} for slot ${slot}`;
    },
    ephemeral: true,
    timeoutMs: 60_000,
    async do(context, params) {
      if (bagOf(context) === undefined) await prepare(room, context, params);
    },
    async undo(context) {
      const bag = bagOf(context);
      dropBag(context);
      if (bag !== undefined) await discard(room, bag.tree);
    },
  });
}
