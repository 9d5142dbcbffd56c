import { accountOf } from '../kernel/accounts.ts';
import { shownTree, TREE } from '../kernel/flip.ts';
import { type Inside, whoIsInside } from '../kernel/processes.ts';
import { anchorOf, type SlotRoom } from './slot-room.ts';
import type { Slot } from './slot-rows.ts';
import { type GenerationView, generationView, type HolderView, holderView } from './views.ts';

/** A slot with what is active in it, as callers see it. */
export interface SlotView {
  name: string;
  owner: { uid: number; name?: string };
  ephemeral: boolean;
  /** The volume that holds what is written in it. */
  volume?: string;
  path: string;
  state: 'empty' | 'active' | 'broken';
  problem?: string;
  createdMs: number;
  active?: GenerationView;
  processes: HolderView[];
  draining: { generation: GenerationView; holders: HolderView[] }[];
  generations: number;
}

/** Programs named per tree: a page is for people. */
const HOLDERS_MAX = 50;

function drainingOf(room: SlotRoom, slot: Slot): SlotView['draining'] {
  return room.keeper.of(slot.name).flatMap(({ upper, inside }) => {
    const generation = room.book.latestWith(upper.id);
    if (generation === undefined) return [];
    const holders = inside.slice(0, HOLDERS_MAX).map(holderView);
    return [{ generation: generationView(room.book, slot, generation), holders }];
  });
}

function stateOf(room: SlotRoom, slot: Slot, device: string | undefined): SlotView['state'] {
  if (slot.current === undefined) return 'empty';
  return device === undefined || room.problems.has(slot.name) ? 'broken' : 'active';
}

function pageOf(
  room: SlotRoom,
  slot: Slot,
  device: string | undefined,
  inside: Inside[],
): SlotView {
  const active = room.book.current(slot);
  const problem = room.problems.get(slot.name);
  const name = accountOf(slot.owner)?.name;
  return {
    name: slot.name,
    owner: { uid: slot.owner, ...(name === undefined ? {} : { name }) },
    ephemeral: slot.ephemeral,
    ...(slot.volume === undefined ? {} : { volume: slot.volume.name }),
    path: `${anchorOf(room, slot.name)}/${TREE}`,
    state: stateOf(room, slot, device),
    ...(problem === undefined ? {} : { problem }),
    createdMs: slot.createdMs,
    ...(active === undefined ? {} : { active: generationView(room.book, slot, active) }),
    processes: inside
      .filter((one) => one.device === undefined || one.device === device)
      .slice(0, HOLDERS_MAX)
      .map(holderView),
    draining: drainingOf(room, slot),
    generations: room.book.count(slot.name),
  };
}

/** All slots, or the named one, with who is inside: one look at /proc for all of them. */
export async function slotPages(room: SlotRoom, only?: string): Promise<SlotView[]> {
  const slots = only === undefined ? room.book.slots() : [room.book.slot(only)];
  const devices = new Map(slots.map(({ name }) => [name, shownTree(anchorOf(room, name))?.device]));
  const known = [...devices.values()].filter((device) => device !== undefined);
  const inside = await whoIsInside(new Set(known), 'programs');
  return slots.map((slot) => pageOf(room, slot, devices.get(slot.name), inside));
}

/** Generations of a slot, the newest first. Throws slot-not-found. */
export function slotHistory(room: SlotRoom, name: string, limit = 100): GenerationView[] {
  const slot = room.book.slot(name);
  return room.book
    .generations(name)
    .reverse()
    .slice(0, limit)
    .map((generation) => generationView(room.book, slot, generation));
}
