import { readdirSync } from 'node:fs';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { bootId } from '../kernel/clock.ts';
import type { Fd } from '../kernel/fd.ts';
import { removeAsides } from '../kernel/files.ts';
import { type Shown, shownTree, sweepTrees } from '../kernel/flip.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';
import { unmount } from '../kernel/mounts.ts';
import { upperInUse } from '../kernel/overlay.ts';
import type { Tx } from '../store/store.ts';
import { openAnchor } from './anchor.ts';
import { chainOf } from './flatten.ts';
import { askedAgain } from './persona-source.ts';
import { showTree } from './show.ts';
import { anchorOf, type SlotRoom, sourceOf, warmUp } from './slot-room.ts';
import {
  type Generation,
  putUpper,
  readFacts,
  type Slot,
  setCurrent,
  type Upper,
  updateGeneration,
} from './slot-rows.ts';
import { mountTree, newTree } from './tree.ts';

/** Rows that a recovery changes, to be committed by who asked for it. */
export interface Restored {
  record(tx: Tx): void;
}

/** What the slot shows now, and the upper in it: mount tables carry its name as the source. */
function seen(room: SlotRoom, slot: string): { shown: Shown; upper: string } | undefined {
  const shown = shownTree(anchorOf(room, slot));
  if (shown === undefined) return undefined;
  const line = readMountinfo().find(({ id }) => id === shown.mountId);
  const upper = line?.source.startsWith(sourceOf(slot, '')) ? line.source.split(':')[2] : undefined;
  return { shown, upper: upper ?? '' };
}

/** A crash between the two steps of a flip leaves the new tree under the old one: the second step is done now. */
async function finishFlip(room: SlotRoom, slot: string, wanted: string): Promise<void> {
  const now = seen(room, slot);
  if (now === undefined || now.upper === wanted) return;
  const at = now.shown.at;
  const stacked = readMountinfo().filter((line) => line.at === at);
  if (!stacked.some(({ source }) => source === sourceOf(slot, wanted))) return;
  await unmount(at, { detach: true });
}

/** The tree of the generation, from its own upper; a throw-away slot begins anew. */
async function treeOf(room: SlotRoom, slot: Slot, generation: Generation): Promise<[Fd, Upper]> {
  await askedAgain(room.source, generation);
  const upper = room.book.upper(generation.upper);
  if (slot.ephemeral || upper.state === 'sealed' || upper.state === 'gone') {
    // What was sealed is never written again: the generation goes on in a new upper on top of it.
    const below = slot.ephemeral ? [] : chainOf(room.book, upper);
    const tree = await newTree(room, slot, generation.layers, below);
    return [tree.mount, tree.upper];
  }
  if (await upperInUse(room.uppers.path(slot.name, upper.id), room.state)) {
    const who = 'a program, or a mount namespace, of an earlier run still holds its writable layer';
    throw new PersonaError('slot-busy', { slot: slot.name, who });
  }
  const mount = await mountTree(room, slot, generation.layers, upper, { shape: false });
  return [mount, { ...upper, state: 'active', boot: bootId() }];
}

/**
 * Makes the slot show its current generation again, whatever a crash or a reboot left: nothing to do, half a flip, nothing
 * mounted. When it cannot be shown and an earlier one still is, that one is current again. Safe to repeat.
 */
export async function restoreSlot(room: SlotRoom, name: string): Promise<Restored> {
  const slot = room.book.slot(name);
  openAnchor(room, slot);
  await sweepTrees(anchorOf(room, name));
  const current = room.book.current(slot);
  if (current === undefined) return { record: () => undefined };
  await finishFlip(room, name, current.upper);
  const now = seen(room, name);
  if (now?.upper === current.upper) return shownAlready(room, current);
  try {
    const [mount, upper] = await treeOf(room, slot, current);
    const left = room.book
      .uppersOf(name)
      // Of one that has ended the slot shows an earlier place, which a move has left.
      .find(({ id, state }) => id === now?.upper && (state === 'active' || state === 'draining'));
    await showTree(room, name, mount, left);
    return nowShown(room, current, upper);
  } catch (error) {
    return notShown(room, slot, current, now?.upper, error);
  }
}

function shownAlready(room: SlotRoom, current: Generation): Restored {
  room.problems.delete(current.slot);
  const good: Generation = { ...current, state: 'good' };
  room.book.putGeneration(good);
  return { record: (tx) => updateGeneration(tx, good) };
}

function nowShown(room: SlotRoom, current: Generation, upper: Upper): Restored {
  room.problems.delete(current.slot);
  const good: Generation = { ...current, state: 'good', upper: upper.id };
  const old = room.book.upper(current.upper);
  const left = old.id !== upper.id && old.state === 'active';
  const gone: Upper | undefined = left ? { ...old, state: 'draining' } : undefined;
  room.book.putUpper(upper);
  if (gone !== undefined) room.book.putUpper(gone);
  room.book.putGeneration(good);
  return {
    record: (tx) => {
      putUpper(tx, upper);
      if (gone !== undefined) putUpper(tx, gone);
      updateGeneration(tx, good);
    },
  };
}

function notShown(
  room: SlotRoom,
  slot: Slot,
  current: Generation,
  shownUpper: string | undefined,
  error: unknown,
): Restored {
  const failure = toWire(error).message;
  room.log.error(
    { err: error, slot: slot.name, generation: current.number },
    'cannot show it again',
  );
  const earlier =
    shownUpper === undefined || !room.book.knowsUpper(shownUpper)
      ? undefined
      : room.book.latestWith(shownUpper);
  if (earlier === undefined) {
    room.problems.set(slot.name, `generation ${current.number} cannot be shown: ${failure}`);
    return { record: () => undefined };
  }
  const { endedMs: _, ...again } = earlier;
  const failed: Generation = { ...current, state: 'failed', failure, endedMs: room.now() };
  const upper: Upper = { ...room.book.upper(earlier.upper), state: 'active' };
  const left: Upper = { ...room.book.upper(current.upper), state: 'draining' };
  for (const one of [failed, again]) room.book.putGeneration(one);
  for (const one of [left, upper]) room.book.putUpper(one);
  room.book.putSlot({ ...slot, current: earlier.number });
  return {
    record: (tx) => {
      for (const one of [failed, again]) updateGeneration(tx, one);
      for (const one of [left, upper]) putUpper(tx, one);
      setCurrent(tx, slot.name, earlier.number);
    },
  };
}

/** Uppers that were replaced and not sealed are watched again; what was dropped is removed. */
async function resumeUppers(room: SlotRoom, slot: Slot): Promise<void> {
  const active = room.book.current(slot)?.upper;
  for (const upper of room.book.uppersOf(slot.name)) {
    if (upper.state === 'gone') await room.uppers.remove(slot.name, upper.id);
    else if (upper.state !== 'sealed' && upper.id !== active) room.keeper.await(upper);
  }
  const unknown = await room.uppers.adopt(slot.name, (id) => room.book.knowsUpper(id));
  for (const id of unknown) {
    const path = room.uppers.path(slot.name, id);
    room.log.warn(
      { slot: slot.name, path },
      'found a writable layer that no row names; it is left alone',
    );
  }
}

/** Brings all slots back after a start of the daemon: from rows, mount tables and what the kernel says. */
export async function recoverSlots(room: SlotRoom): Promise<void> {
  room.book.load(await readFacts(room.store));
  const restored: Restored[] = [];
  for (const slot of room.book.slots()) {
    const { name } = slot;
    const problem = room.places.problem(slot);
    if (problem !== undefined) {
      // Kept out: nothing is made in place of what cannot be reached, and nothing of it is given up.
      room.problems.set(name, problem);
      room.log.error({ slot: name, problem }, 'cannot bring a slot back');
      continue;
    }
    try {
      if (slot.volume !== undefined) await removeAsides(room.uppers.folder(name));
      restored.push(await restoreSlot(room, name));
      await resumeUppers(room, room.book.slot(name));
      warmUp(room, room.book.slot(name));
      room.records.fill(name);
    } catch (error) {
      room.problems.set(name, toWire(error).message);
      room.log.error({ err: error, slot: name }, 'cannot bring a slot back');
    }
  }
  if (restored.length > 0) {
    await room.store.commit((tx) => {
      for (const one of restored) one.record(tx);
    });
  }
  for (const name of strangers(room)) {
    room.log.warn({ slot: name }, 'found a slot folder that no row names; it is left alone');
  }
}

/** Folders of slots that the rows do not know; what begins with a dot is never a slot. */
function strangers(room: SlotRoom): string[] {
  return readdirSync(room.state).filter(
    (name) => !name.startsWith('.') && room.book.find(name) === undefined,
  );
}
