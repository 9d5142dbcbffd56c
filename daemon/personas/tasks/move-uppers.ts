import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { ensureFolder, namesOf, syncFolder } from '../../kernel/files.ts';
import { upperInUse } from '../../kernel/overlay.ts';
import { copyTimeoutMs, copyUppers, emptyFolder } from '../copy-uppers.ts';
import { type MoveParams, toMove, wordsOf } from '../slot-move.ts';
import type { SlotRoom } from '../slot-room.ts';
import { type InVolume, readSlot } from '../slot-rows.ts';

/** How long a tree of the earlier place may take to end: who came in while it was copied reads on. */
const END_MS = 30_000;
const LOOK_MS = 20;

/** Ids of the uppers that hold something, or may. */
function kept(room: SlotRoom, slot: string): string[] {
  return room.book.uppersOf(slot).flatMap(({ id, state }) => (state === 'gone' ? [] : [id]));
}

async function makeTarget(room: SlotRoom, slot: string, to: InVolume | undefined): Promise<string> {
  const folder = room.places.folder(slot, to);
  if (to === undefined) await ensureFolder(folder);
  else await room.places.make(slot, to);
  return folder;
}

async function liesIn(room: SlotRoom, slot: string, place: InVolume | undefined): Promise<boolean> {
  const now = await readSlot(room.store, slot);
  return now !== undefined && now.volume?.folder === place?.folder;
}

/** Removes what the slot has at a place that its row does not name; where it lies nothing is removed. */
async function clear(room: SlotRoom, slot: string, place: InVolume | undefined): Promise<void> {
  if (await liesIn(room, slot, place)) return;
  if (place !== undefined) {
    await room.places.remove(slot, place);
    return;
  }
  const folder = room.places.folder(slot, place);
  if (!existsSync(folder)) return;
  await emptyFolder(folder);
  await syncFolder(folder);
}

/** Copies what is written in a slot that nobody can write to. */
export function copyUppersTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.copy-uppers',
    summary: ({ slot, to }) => `copy what is written in slot ${slot} to ${wordsOf(to)}`,
    timeoutMs: copyTimeoutMs,
    async do(context, move) {
      const { slot, from, to } = move;
      toMove(room, move);
      const target = await makeTarget(room, slot, to);
      await context.fault('slots:copying');
      const source = room.places.folder(slot, from);
      await copyUppers(source, target, kept(room, slot), context.signal);
    },
    undo: (_context, { slot, to }) => clear(room, slot, to),
  });
}

/** Waits until no tree is on the uppers of the earlier place any more. */
async function untilEnded(room: SlotRoom, slot: string, folder: string): Promise<void> {
  const uppers = namesOf(folder, 'folder').filter((id) => existsSync(`${folder}/${id}/fs`));
  const until = performance.now() + END_MS;
  for (const id of uppers)
    while (await upperInUse(`${folder}/${id}`, room.state)) {
      if (performance.now() > until)
        throw new PersonaError('in-use', {
          what: `the earlier place of slot ${slot}`,
          by: 'programs that came in while it was moved; it is removed when they have ended',
        });
      await pause(LOOK_MS);
    }
}

/** Removes what is written in a slot from the place that it was moved from. */
export function removeMovedTask(room: SlotRoom): AnyTask {
  return defineTask<MoveParams>({
    kind: 'slots.remove-moved',
    summary: ({ slot, from }) => `remove what was written in slot ${slot} from ${wordsOf(from)}`,
    forward: true,
    undo: 'nothing-to-undo',
    timeoutMs: copyTimeoutMs,
    async do(_context, { slot, from }) {
      if (from !== undefined && room.places.problem({ name: slot, volume: from }) !== undefined)
        return;
      // Repeated long after: it was moved back meanwhile, or another slot of this name lies there.
      if (await liesIn(room, slot, from)) return;
      await untilEnded(room, slot, room.places.folder(slot, from));
      await clear(room, slot, from);
    },
  });
}
