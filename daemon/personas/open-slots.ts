import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyTask } from '../changes/task.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import { ensureFolder } from '../kernel/files.ts';
import type { Ways } from '../kernel/probe.ts';
import type { Store } from '../store/store.ts';
import { mayHold } from './busy.ts';
import { DrainKeeper } from './draining.ts';
import { Flattener } from './flatten.ts';
import { GenerationRecords } from './generation-records.ts';
import { LayerMounts } from './layer-mounts.ts';
import { NextTrees } from './next-trees.ts';
import type { PersonaSource } from './persona-source.ts';
import { SlotBook } from './slot-book.ts';
import { SlotNamespaces } from './slot-ids.ts';
import { recoverSlots } from './slot-recovery.ts';
import type { SlotLog, SlotRoom } from './slot-room.ts';
import { putUpper, type Upper } from './slot-rows.ts';
import { commitGenerationTask } from './tasks/commit-generation.ts';
import { createSlotTask, openSlotTask } from './tasks/create-slot.ts';
import { freezeSlotTask } from './tasks/freeze-slot.ts';
import { commitMoveTask, prepareMovedTask, showMovedTask } from './tasks/move-tree.ts';
import { copyUppersTask, removeMovedTask } from './tasks/move-uppers.ts';
import { prepareTreeTask } from './tasks/prepare-tree.ts';
import { endSlotTask, forgetSlotTask, removeSlotTask } from './tasks/remove-slot.ts';
import { showTreeTask } from './tasks/show-tree.ts';
import { vacateSlotTask } from './tasks/vacate-slot.ts';
import { discardTree, likelyNext, makeTree } from './tree.ts';
import { type SlotVolumes, UpperPlaces } from './upper-places.ts';
import { Uppers } from './uppers.ts';

/** What slots are opened with. */
export interface SlotsParts {
  store: Store;
  source: PersonaSource;
  log: SlotLog;
  paths: Pick<Paths, 'state' | 'run'>;
  volumes: SlotVolumes;
  /** The ways of this machine, or those a test forces. */
  ways: Ways;
  /** Whether the machine has a capability of this id. */
  able(id: string): boolean;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Slots of a running daemon. */
export interface Slots {
  room: SlotRoom;
  /** Task kinds for the engine. */
  tasks: AnyTask[];
  /** Reads the rows and brings every slot back. Before the engine recovers its changes. */
  recover(): Promise<void>;
  /** Lets go of everything but what slots show: they stay usable without the daemon. */
  stop(): Promise<void>;
}

/** Writes down that an upper has ended: immutable from now on, or dropped when nothing is in it. */
async function seal(room: SlotRoom, upper: Upper): Promise<void> {
  const slot = room.book.find(upper.slot);
  if (slot === undefined) return; // its slot is being removed, and it goes with it
  const current = room.book.current(slot)?.upper === upper.id;
  const useless = slot.ephemeral || room.uppers.isEmpty(slot.name, upper.id, upper.root);
  const state = useless && !current ? 'gone' : 'sealed';
  const bytes = state === 'gone' ? 0 : await room.uppers.size(slot.name, upper.id);
  const ended: Upper = { ...upper, state, endedMs: room.now(), bytes };
  // On the disk before its folder goes.
  await room.store.commit((tx) => putUpper(tx, ended));
  room.book.putUpper(ended);
  if (state === 'gone') await room.uppers.remove(slot.name, upper.id);
  else await room.uppers.describe(ended, room.book.latestWith(upper.id)?.number ?? 0);
  if (state === 'sealed') room.flattener.consider(ended);
  room.next.consider(slot.name);
}

/** Opens slots: makes their folders; nothing is mounted before `recover`. */
export async function openSlots(parts: SlotsParts): Promise<Slots> {
  const { store, source, log, paths, volumes, ways, able, accountOf, now } = parts;
  const state = join(paths.state, statePlaces.slots);
  const staging = join(paths.run, 'layers');
  await ensureFolder(state);
  mkdirSync(staging, { recursive: true, mode: 0o700 });
  const book = new SlotBook();
  const places = new UpperPlaces(state, volumes);
  const uppers = new Uppers(state, (slot) => places.folder(slot, book.find(slot)?.volume));
  const room: SlotRoom = {
    store,
    source,
    log,
    book,
    layers: new LayerMounts(source, ways, staging),
    uppers,
    places,
    keeper: new DrainKeeper({
      path: (upper) => uppers.path(upper.slot, upper.id),
      seal: (upper) => seal(room, upper),
      mayHold: (upper, one) => mayHold(book.find(upper.slot), one),
      isWritten: ({ slot, id, root }) => !uppers.isEmpty(slot, id, root),
      anyFolder: state,
      log,
    }),
    next: new NextTrees({
      plan: (slot) => likelyNext(room, slot),
      make: (slot, plan) => makeTree(room, room.book.slot(slot), plan),
      discard: (tree) => discardTree(room, tree),
      log,
    }),
    flattener: new Flattener({ store, book, uppers, log, now }),
    records: new GenerationRecords({ state, book, uppers, log }),
    namespaces: new SlotNamespaces(join(paths.run, 'userns')),
    ways,
    able,
    accountOf,
    anchors: join(paths.run, runPlaces.slots),
    state,
    now,
    settling: new Set(),
    moving: new Set(),
    problems: new Map(),
  };
  return {
    room,
    tasks: [
      createSlotTask(room),
      openSlotTask(room),
      vacateSlotTask(room),
      prepareTreeTask(room),
      commitGenerationTask(room),
      showTreeTask(room),
      endSlotTask(room),
      forgetSlotTask(room),
      removeSlotTask(room),
      freezeSlotTask(room),
      copyUppersTask(room),
      prepareMovedTask(room),
      commitMoveTask(room),
      showMovedTask(room),
      removeMovedTask(room),
    ],
    recover: () => recoverSlots(room),
    async stop() {
      await room.records.flush();
      await Promise.all(room.settling);
      await room.next.close();
      await room.uppers.close();
      await room.keeper.close();
      await room.flattener.settled(undefined, true);
      await room.layers.close();
      await room.namespaces.close();
    },
  };
}
