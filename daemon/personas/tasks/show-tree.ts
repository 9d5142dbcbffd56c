import { toWire } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json, type Outcome } from '../../changes/task.ts';
import { statMount } from '../../kernel/stat-mount.ts';
import { showTree } from '../show.ts';
import { restoreSlot } from '../slot-recovery.ts';
import type { SlotRoom } from '../slot-room.ts';
import {
  type Generation,
  putUpper,
  setCurrent,
  type Upper,
  updateGeneration,
} from '../slot-rows.ts';
import { generationView } from '../views.ts';
import { bagOf, dropBag, type SwapBag } from './swap-bag.ts';

export interface ShowParams {
  slot: string;
}

type Committed = NonNullable<SwapBag['committed']>;

/** Takes over in memory what was committed. Returns what was active before. */
function learn(room: SlotRoom, { generation, upper }: Committed) {
  const slot = room.book.slot(generation.slot);
  const previous = room.book.current(slot);
  const left = previous === undefined ? undefined : room.book.upper(previous.upper);
  if (previous !== undefined) {
    room.book.putGeneration({ ...previous, endedMs: generation.startedMs });
  }
  if (left !== undefined) room.book.putUpper({ ...left, state: 'draining' });
  room.book.putUpper(upper);
  room.book.putGeneration(generation);
  room.book.putSlot({ ...slot, current: generation.number });
  return { previous, left };
}

/** The slot stays on what it shows: the new generation is a failed one. */
function goBack(
  room: SlotRoom,
  bag: SwapBag,
  committed: Committed,
  before: { previous?: Generation | undefined; left?: Upper | undefined },
  error: unknown,
): Outcome<Json> {
  const { generation, upper } = committed;
  const { mount } = bag.tree;
  const failure = toWire(error);
  const failed: Generation = {
    ...generation,
    state: 'failed',
    failure: failure.message,
    endedMs: room.now(),
  };
  const slot = room.book.slot(generation.slot);
  room.book.putGeneration(failed);
  const { current: _, ...empty } = slot;
  const { previous, left } = before;
  room.book.putSlot(previous === undefined ? empty : { ...slot, current: previous.number });
  if (previous !== undefined) room.book.putGeneration(previous);
  if (left !== undefined) room.book.putUpper(left);
  const shownAlready = left?.id === upper.id;
  if (!shownAlready) {
    room.book.putUpper({ ...upper, state: 'draining' });
    room.keeper.hold(upper, mount, statMount(mount).device);
  }
  return {
    record: (tx) => {
      updateGeneration(tx, failed);
      if (previous !== undefined) updateGeneration(tx, previous);
      if (!shownAlready) putUpper(tx, { ...upper, state: 'draining' });
      if (left !== undefined) putUpper(tx, left);
      setCurrent(tx, slot.name, previous?.number);
    },
    result: { failure: { ...failure, detail: undefined } },
  };
}

function answer(room: SlotRoom, bag: SwapBag, generation: Generation, previous?: Generation): Json {
  const slot = room.book.slot(generation.slot);
  const nowMs = performance.now();
  return {
    slot: slot.name,
    generation: generationView(room.book, slot, generation),
    previous: previous === undefined ? undefined : generationView(room.book, slot, previous),
    resumed: bag.tree.resumed,
    timing: {
      prepareMs: bag.preparedMs - bag.startedMs,
      commitMs: (bag.committedMs ?? nowMs) - bag.preparedMs,
      flipMs: bag.flipMs ?? 0,
      totalMs: nowMs - bag.startedMs,
    },
  } as unknown as Json;
}

async function show(room: SlotRoom, bag: SwapBag, committed: Committed): Promise<Outcome<Json>> {
  bag.committedMs = performance.now();
  const before = learn(room, committed);
  try {
    bag.flipMs = await showTree(room, committed.generation.slot, bag.tree.mount, before.left);
  } catch (error) {
    return goBack(room, bag, committed, before, error);
  }
  const good: Generation = { ...committed.generation, state: 'good' };
  room.book.putGeneration(good);
  room.uppers.refill(good.slot);
  room.records.put(good);
  return {
    record: (tx) => updateGeneration(tx, good),
    result: answer(room, bag, good, before.previous),
  };
}

/** Replaces what the slot shows by the committed generation. After a restart: shows it from the rows. */
export function showTreeTask(room: SlotRoom): AnyTask {
  return defineTask<ShowParams>({
    kind: 'slots.show-tree',
    summary: ({ slot }) => `show the new tree in slot ${slot}`,
    forward: true,
    undo: 'nothing-to-undo',
    timeoutMs: 60_000,
    async do(context, { slot }) {
      const bag = bagOf(context);
      dropBag(context);
      if (bag?.committed !== undefined) return show(room, bag, bag.committed);
      return restoreSlot(room, slot);
    },
  });
}
