import { setTimeout as pause } from 'node:timers/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { shownTree } from '../kernel/flip.ts';
import { type Inside, openProcess, signalProcess, whoIsInside } from '../kernel/processes.ts';
import { anchorOf, type SlotRoom } from './slot-room.ts';
import type { Slot } from './slot-rows.ts';

/** What to do about programs inside: wait for them, end them, or refuse. */
export type Busy = 'wait' | 'kill' | 'refuse';

/** Time a program gets to end by itself after the polite signal, and then to be gone after the other. */
const TERM_MS = 5_000;
const KILL_MS = 5_000;
const LOOK_MS = 100;
const LOOK_MAX_MS = 1_000;

/** One of the slot's owner, or of its ids. */
function isOfSlot({ owner, ids }: Slot, { uid }: Inside): boolean {
  return uid === owner || (ids !== undefined && uid >= ids.first && uid < ids.first + ids.count);
}

/** Who could not be told counts where he is the owner or one of the slot's ids: nobody else can hold up a slot by what he has mapped. */
export function mayHold(slot: Slot | undefined, one: Inside): boolean {
  return one.device !== undefined || (slot !== undefined && isOfSlot(slot, one));
}

/** Programs inside the tree that the slot shows. A namespace that could not be told may keep it, whoever's it is. */
export async function insideOf(room: SlotRoom, name: string): Promise<Inside[]> {
  const device = shownTree(anchorOf(room, name))?.device;
  if (device === undefined) return [];
  const slot = room.book.slot(name);
  const inside = await whoIsInside(new Set([device]));
  return inside.filter((one) => one.by === 'namespace' || mayHold(slot, one));
}

function busyWith(slot: string, inside: Inside[]): PersonaError {
  const who = inside.slice(0, 5).map(({ pid, name }) => `${name} (pid ${pid})`);
  const more = inside.length > 5 ? ` and ${inside.length - 5} more` : '';
  return new PersonaError('slot-busy', { slot, who: `${who.join(', ')}${more}` });
}

function refuse(slot: string, inside: Inside[]): never {
  throw busyWith(slot, inside);
}

/** True when the asking user may end this program: root any, others their own and those of their slot's ids. */
function mayEnd(slot: Slot, uid: number, one: Inside): boolean {
  if (uid === 0 || one.uid === uid) return true;
  return slot.owner === uid && isOfSlot(slot, one);
}

/** Who is in the way. Not who has the tree only among the mounts of its namespace: that drains with the old generation. */
async function programsIn(room: SlotRoom, name: string): Promise<Inside[]> {
  return (await insideOf(room, name)).filter(({ by }) => by !== 'namespace');
}

/** Throws slot-busy while a program is in the slot. */
export async function refuseInside(room: SlotRoom, slot: string): Promise<void> {
  const inside = await programsIn(room, slot);
  if (inside.length > 0) refuse(slot, inside);
}

function signal(inside: Inside[], name: 'SIGTERM' | 'SIGKILL'): void {
  for (const one of inside) {
    using handle = openProcess(one);
    if (handle !== undefined) signalProcess(handle, name);
  }
}

/** Looks until nobody is inside or the time is over; returns who is left. */
async function untilEmpty(
  look: () => Promise<Inside[]>,
  deadlineMs: number,
  stop: AbortSignal,
  told: (inside: Inside[]) => void = () => undefined,
): Promise<Inside[]> {
  const end = performance.now() + deadlineMs;
  for (let wait = LOOK_MS; ; wait = Math.min(wait * 1.3, LOOK_MAX_MS)) {
    const inside = await look();
    if (inside.length === 0 || performance.now() >= end) return inside;
    told(inside);
    await pause(wait, undefined, { signal: stop });
  }
}

/**
 * Throws slot-busy when after `deadlineMs` anything still keeps the shown tree alive, be it only among the mounts of a
 * namespace of its own: taken off, the tree would not end there, and could not be shown again.
 */
export async function refuseHeld(
  room: SlotRoom,
  slot: string,
  deadlineMs: number,
  stop: AbortSignal,
): Promise<void> {
  const inside = await untilEmpty(() => insideOf(room, slot), deadlineMs, stop);
  if (inside.length === 0) return;
  const error = busyWith(slot, inside);
  if (inside.every(({ by }) => by === 'namespace'))
    error.hint =
      'They have a mount namespace of their own that keeps what the slot shows: end them. --wait and --kill leave such programs alone.';
  throw error;
}

/**
 * Sees to it that nobody is inside the slot's tree: `refuse` throws slot-busy at once, `wait` waits until the change is
 * aborted, `kill` ends what the user may end.
 * @param uid who asks; @param told hears of who is still inside.
 */
export async function vacate(
  room: SlotRoom,
  slot: Slot,
  busy: Busy,
  uid: number,
  stop: AbortSignal,
  told: (inside: Inside[]) => void,
): Promise<void> {
  const look = () => programsIn(room, slot.name);
  const inside = await look();
  if (inside.length === 0) return;
  if (busy === 'refuse') refuse(slot.name, inside);
  if (busy === 'wait') {
    await untilEmpty(look, Number.POSITIVE_INFINITY, stop, told);
    return;
  }
  // Nothing is ended because it could not be told.
  const others = inside.filter((one) => one.device === undefined || !mayEnd(slot, uid, one));
  if (others.length > 0) refuse(slot.name, others);
  signal(inside, 'SIGTERM');
  const left = await untilEmpty(look, TERM_MS, stop, told);
  signal(
    left.filter((one) => one.device !== undefined && mayEnd(slot, uid, one)),
    'SIGKILL',
  );
  const stubborn = await untilEmpty(look, KILL_MS, stop, told);
  if (stubborn.length > 0) refuse(slot.name, stubborn);
}
