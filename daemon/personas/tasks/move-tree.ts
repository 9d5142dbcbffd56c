import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import { chainOf } from '../flatten.ts';
import { showTree } from '../show.ts';
import { type MoveParams, toMove, wordsOf } from '../slot-move.ts';
import { restoreSlot } from '../slot-recovery.ts';
import { type SlotRoom, warmUp } from '../slot-room.ts';
import {
  type Generation,
  putUpper,
  readSlot,
  type Slot,
  setSlotVolume,
  type Upper,
  updateGeneration,
} from '../slot-rows.ts';
import { discardTree, makeTree, type Tree } from '../tree.ts';
import { Uppers } from '../uppers.ts';

/** What the steps of one move hand on in memory: the tree at the new place, and what it makes of the rows. */
interface Moved {
  tree: Tree;
  /** What was active: it ends with the move, and the new upper lies on its copy. */
  ended: Upper;
  generation: Generation;
}

const KEY = 'slots.moved';
const movedOf = (context: TaskContext) => context.live.get(KEY) as Moved | undefined;

/** The room as it is for a slot at its new place. */
function roomAt(room: SlotRoom, { slot, to }: MoveParams): SlotRoom {
  return { ...room, uppers: new Uppers(room.state, () => room.places.folder(slot, to)) };
}

async function prepare(room: SlotRoom, params: MoveParams, slot: Slot): Promise<Moved | undefined> {
  const current = room.book.current(slot);
  if (current === undefined) return undefined;
  const upper = room.book.upper(current.upper);
  const empty = room.uppers.isEmpty(slot.name, upper.id, upper.root);
  const bytes = empty ? 0 : await room.uppers.size(slot.name, upper.id);
  const state = empty ? 'gone' : 'sealed';
  const ended: Upper = { ...upper, state, endedMs: room.now(), bytes };
  const rest = chainOf(room.book, upper);
  const below = upper.state === 'sealed' || empty ? rest : [upper.id, ...rest];
  const tree = await makeTree(roomAt(room, params), slot, { layers: current.layers, below });
  return { tree, ended, generation: { ...current, state: 'good', upper: tree.upper.id } };
}

/** Makes the slot's tree on the copies: what was active, now never written again, below a new upper. Its effect dies with the process. */
export function prepareMovedTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.prepare-moved',
    summary: ({ slot, to }) => `join the tree of slot ${slot} in ${wordsOf(to)}`,
    ephemeral: true,
    timeoutMs: 60_000,
    async do(context, params) {
      if (movedOf(context) !== undefined) return;
      const moved = await prepare(room, params, toMove(room, params));
      if (moved !== undefined) context.live.set(KEY, moved);
    },
    async undo(context, params) {
      const moved = movedOf(context);
      context.live.delete(KEY);
      if (moved !== undefined) await discardTree(roomAt(room, params), moved.tree);
    },
  });
}

/** Writes the new place down, with what lies there: from here a move only goes forward. */
export function commitMoveTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.commit-move',
    summary: ({ slot, to }) => `record that slot ${slot} lies in ${wordsOf(to)}`,
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(context, move) {
      const moved = movedOf(context);
      const slot = toMove(room, move);
      if (moved === undefined && slot.current !== undefined)
        throw new PersonaError('internal', 'no tree was prepared');
      return {
        record: (tx) => {
          setSlotVolume(tx, slot, move.to);
          if (moved === undefined) return;
          putUpper(tx, moved.ended);
          putUpper(tx, moved.tree.upper);
          updateGeneration(tx, moved.generation);
        },
      };
    },
  });
}

/** Takes over in memory what was committed. */
function learn(room: SlotRoom, { slot: name, to }: MoveParams, moved: Moved | undefined): void {
  const { volume: _, ...slot } = room.book.slot(name);
  room.book.putSlot(to === undefined ? slot : { ...slot, volume: to });
  if (moved === undefined) return;
  room.book.putUpper(moved.ended);
  room.book.putUpper(moved.tree.upper);
  room.book.putGeneration(moved.generation);
}

async function show(room: SlotRoom, name: string, moved: Moved | undefined) {
  // After a restart, or when it was tried before: from the rows.
  if (moved === undefined) return await restoreSlot(room, name);
  try {
    // Nothing is kept of the old tree: it ends with its last reader.
    await showTree(room, name, moved.tree.mount, undefined);
  } catch (error) {
    await moved.tree.mount.closeLater();
    throw error;
  }
  room.records.put(moved.generation);
  return undefined;
}

/** Shows the tree at the new place instead of the one at the old place, without a gap. */
export function showMovedTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.show-moved',
    summary: ({ slot, to }) => `show slot ${slot} from ${wordsOf(to)}`,
    forward: true,
    undo: 'nothing-to-undo',
    timeoutMs: 60_000,
    async do(context, params) {
      const moved = movedOf(context);
      context.live.delete(KEY);
      // Repeated long after: it was moved again meanwhile, or went.
      const now = await readSlot(room.store, params.slot);
      if (now === undefined || now.volume?.folder !== params.to?.folder) return undefined;
      await room.next.drop(params.slot);
      learn(room, params, moved);
      const restored = await show(room, params.slot, moved);
      room.moving.delete(params.slot);
      warmUp(room, room.book.slot(params.slot));
      return restored;
    },
  });
}
