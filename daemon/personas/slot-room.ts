import type { FlipWay } from '../kernel/flip.ts';
import type { Ways } from '../kernel/probe.ts';
import type { Store } from '../store/store.ts';
import type { DrainKeeper } from './draining.ts';
import type { Flattener } from './flatten.ts';
import type { GenerationRecords } from './generation-records.ts';
import type { LayerMounts } from './layer-mounts.ts';
import type { NextTrees } from './next-trees.ts';
import type { PersonaSource } from './persona-source.ts';
import type { SlotBook } from './slot-book.ts';
import type { SlotNamespaces } from './slot-ids.ts';
import type { Slot } from './slot-rows.ts';
import type { UpperPlaces } from './upper-places.ts';
import type { Uppers } from './uppers.ts';

/** What slots need of a log. */
export interface SlotLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** The parts that the files of slots share. */
export interface SlotRoom {
  store: Store;
  source: PersonaSource;
  log: SlotLog;
  book: SlotBook;
  layers: LayerMounts;
  uppers: Uppers;
  places: UpperPlaces;
  keeper: DrainKeeper;
  next: NextTrees;
  records: GenerationRecords;
  flattener: Flattener;
  namespaces: SlotNamespaces;
  ways: Ways;
  /** Whether the machine has a capability of this id (see `doctor`). */
  able(id: string): boolean;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
  /** The folder `slots` of the run tree: anchors. */
  anchors: string;
  /** The folder `slots` of the state tree: records, and uppers that lie in no volume. */
  state: string;
  /** Milliseconds since 1970. */
  now(): number;
  /** Replaced trees that are being taken off; a stop waits for them. */
  settling: Set<Promise<unknown>>;
  /** Slots whose uppers are being moved: nobody starts a program in them. */
  moving: Set<string>;
  /** What is wrong with a slot, for status; absent when all is well. */
  problems: Map<string, string>;
}

/** The slot's folder in the run tree; its tree is at `root` below. */
export function anchorOf(room: SlotRoom, slot: string): string {
  return `${room.anchors}/${slot}`;
}

/** How this slot's tree is replaced. */
export function flipWayOf(room: SlotRoom): FlipWay {
  return room.ways.flip;
}

/** Where mount tables show what a tree is: the slot and the upper, which names the superblock. */
export function sourceOf(slot: string, upper: string): string {
  return `persona:${slot}:${upper}`;
}

/** Shift of the ids of a slot's layers, once its namespace is there. */
export async function shiftOf(room: SlotRoom, slot: Slot) {
  if (slot.ids === undefined || !room.ways.idmap) return undefined;
  const namespace = await room.namespaces.of(slot);
  return namespace === undefined ? undefined : { namespace, first: slot.ids.first };
}

/** Makes what a slot's first swap needs beside its layers, so that it need not wait: uppers, and its user namespace. */
export function warmUp(room: SlotRoom, slot: Slot): void {
  room.uppers.refill(slot.name);
  room.next.consider(slot.name);
  shiftOf(room, slot).catch((error: unknown) =>
    room.log.warn({ err: error, slot: slot.name }, 'cannot make the user namespace of a slot'),
  );
}
