import type { Rooms } from '../api/rooms.ts';
import type { Engine } from '../changes/engine.ts';
import type { Log } from '../changes/log.ts';
import type { AnyTask } from '../changes/task.ts';
import type { Paths } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import type { FastParts } from '../fast/room.ts';
import { boottimeMs, wallMs } from '../kernel/clock.ts';
import { landlockHere } from '../kernel/landlock.ts';
import type { Capabilities } from '../kernel/probe.ts';
import { hasBubblewrap } from '../kernel/sandbox-host.ts';
import type { BootState } from '../kernel/secure-boot.ts';
import { openPartitions, type PartitionsRoom } from '../partitions/room.ts';
import { personaSource } from '../personas/activation.ts';
import { openSlots, type Slots } from '../personas/open-slots.ts';
import { personaTasks } from '../personas/persona-tasks.ts';
import { type OwnerShare, openPersonasRoom, type PersonasRoom } from '../personas/room.ts';
import { SlotCollector } from '../personas/slot-collect.ts';
import { retentionOf } from '../personas/slot-retention.ts';
import { readFacts } from '../personas/slot-rows.ts';
import { baseTasks } from '../personas/tasks/base-tasks.ts';
import type { SlotVolumes } from '../personas/upper-places.ts';
import type { Store } from '../store/store.ts';
import { collectTasks } from '../system/collect.ts';
import type { Check } from '../system/doctor.ts';
import type { Space } from '../system/space.ts';
import { unusedLayers } from '../system/unused-layers.ts';
import type { UpperPlace } from '../system/upper-volume.ts';
import { watchFull } from '../volumes/full-watch.ts';
import { healthOfAll } from '../volumes/health.ts';
import { openVolumes, type VolumesRoom } from '../volumes/room.ts';
import { volumeTasks } from '../volumes/tasks/index.ts';
import type { VolumeName } from '../volumes/volume.ts';
import { type ApplicationParts, openApplications } from './applications.ts';
import { type BackupParts, openBackup } from './backup.ts';
import { openEnclaves } from './enclaves.ts';
import { openFast, partitionsIn } from './fast.ts';
import { FastLaunches } from './fast-launches.ts';
import { type Integrity, openIntegrity, type WrittenImage } from './integrity.ts';
import { openLaunches } from './launches.ts';
import { memoryChecks, memoryNotices, memoryPart, partitionMethods } from './partitions.ts';
import { personaMethods, personaOwners } from './personas.ts';
import { SecureLaunches } from './secure-launches.ts';
import { slotMethods } from './slots.ts';
import { leftNotices, slotsIn, volumesUsed } from './slots-in-volumes.ts';
import { type Governor, openGovernor } from './space.ts';
import { statusParts } from './status.ts';
import { systemMethods } from './system.ts';
import { volumeChecks, volumeMethods, volumeNotices } from './volumes.ts';

/** What the rooms are opened with. */
export interface RoomsParts extends BackupParts {
  paths: Paths;
  settings: Settings;
  log: Log;
  store: Store;
  space: Space;
  machine: Capabilities;
  /** Where slots keep what is written in them. */
  uppers: UpperPlace;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
  /** For the proofs. */
  hooks?: { speedOf?: FastParts['speedOf']; governClock?: () => number };
  /** Why nothing may be changed, whatever it is. */
  degraded: string | undefined;
  /** A service manager clears away what this process leaves when it is killed. */
  service?: boolean | undefined;
  /** Why the database cannot be used. */
  lost: string | undefined;
  /** How the machine was booted, and why nothing may be changed on one that was booted so. */
  boot: BootState;
  insecure: string | undefined;
}

/** All rooms of a daemon, composed. */
export interface OpenedRooms {
  tasks: AnyTask[];
  /** Who moves space between the volumes. */
  governor: Governor;
  /** Brings back what rooms keep in memory and in the kernel. Before the engine recovers. */
  recover(): Promise<void>;
  /** Hears of each change that begins. */
  began(kind: string, engine: Engine): void;
  /** Brings together what the engine's recovery has left to the rooms. After it, before callers are served. */
  settle(engine: Engine): Promise<void>;
  /** Says how far the daemon is, for the status page. */
  phase(now: 'starting' | 'ready' | 'stopping'): void;
  methods(engine: Engine): Rooms;
  /** Hears of callers who get no answer, as there are too many. */
  refused: ReturnType<typeof openLaunches>['refused'];
  /** Lets go of everything but what slots show. What applications have in memory is written back for so long. */
  close(withinMs: number): Promise<void>;
}

/** Opens all rooms and hands one's functions to another: the only place where they meet. */
export async function openRooms(parts: RoomsParts): Promise<OpenedRooms> {
  const { paths, log, store, space } = parts;
  const startedMs = wallMs();
  let phase: 'starting' | 'ready' | 'stopping' = 'starting';
  const personas = await openPersonasRoom({ ...parts, share: shareFrom(parts), now: wallMs });
  const { volumes, slots } = await volumesAndSlots(parts, personas);
  const retention = retentionFrom(parts.settings);
  const backup = openBackup(parts, slots.room.places);
  const partitions = await openPartitions(parts);
  partitions.loop.alongside(watchFull(volumes, log, boottimeMs));
  const fast = openFast(parts, partitions, volumes);
  const governor = openGovernor(parts, partitions, volumes);
  const enclaves = openEnclaves({ store, log, paths, now: wallMs, spareBytes: space.spareBytes });
  const written = () => writtenImages(volumes, enclaves);
  const integrity = openIntegrity({ ...parts, personas, slots: slots.room, written });
  const opened = await launchesOver(parts, { partitions, enclaves, fast });
  const { applications, inMemory, launches } = opened;
  const collectors = [new SlotCollector(slots.room, retention), unusedLayers(paths.state, store)];
  const beside = { partitions, fast, volumes, governor, enclaves, launches };
  const moreChecks = () => checksOf(partitions, volumes, governor, integrity);
  return {
    tasks: [
      ...personaTasks(personas),
      ...baseTasksOver(personas, slots, space),
      ...slots.tasks,
      ...collectTasks(collectors),
      ...integrity.tasks,
      ...backup.tasks,
      ...fast.tasks,
      ...volumeTasks(volumes),
      ...enclaves.tasks,
      ...applications.tasks,
    ],
    recover: () => integrity.look().then(slots.recover).then(fast.recover),
    governor,
    settle: (engine) => settleAll(engine, enclaves, launches, governor),
    began: integrity.began,
    phase: (now) => {
      phase = now;
      if (now === 'ready') for (const room of [partitions, applications]) room.start();
      governor.phase(now);
      integrity.phase(now);
    },
    methods: (engine) => ({
      ...personaMethods(personas),
      ...slotMethods(slots.room),
      ...backup.methods,
      ...partitionMethods(partitions, governor),
      ...fast.methods,
      ...volumeMethods(volumes, governor),
      ...launches.methods,
      ...enclaves.methods(engine),
      ...applications.methods,
      ...integrity.methods,
      ...systemMethods({ ...parts, collectors, moreChecks, volumes: volumesUsed(volumes) }),
      status: statusParts({
        ...parts,
        state: paths.state,
        slots: slots.room,
        startedMs,
        engine,
        phase: () => phase,
        integrity: integrity.status,
        retention,
        memory: () => memoryPart(partitions),
        inMemory: () => inMemory.pages(),
        ...launches.status,
        moreNotices: () => noticesOf(beside, leftNotices(volumes, slots.room, engine)),
      }),
      owners: { ...ownersOver(personas, slots), fast: fast.ownerOf, enclave: enclaves.owner },
    }),
    refused: launches.refused,
    close: (withinMs) =>
      endAll([slots, partitions], [enclaves, applications, fast, launches], withinMs, integrity),
  };
}

/** Ends rooms, what is named last first; one that fails keeps none of the others open. */
async function endAll(
  stopped: readonly { stop(): Promise<unknown> | unknown }[],
  closed: readonly { close(withinMs: number): Promise<unknown> | unknown }[],
  withinMs: number,
  first: { stop(): Promise<void> | void },
): Promise<void> {
  const all = [
    ...stopped.map((room) => () => room.stop()),
    ...closed.map((room) => () => room.close(withinMs)),
    () => first.stop(),
  ];
  await using ending = new AsyncDisposableStack();
  for (const end of all)
    ending.defer(async () => {
      await end();
    });
}

/** What follows the engine's recovery, room by room. */
async function settleAll(
  engine: Engine,
  enclaves: ReturnType<typeof openEnclaves>,
  launches: ReturnType<typeof openLaunches>,
  governor: Governor,
): Promise<void> {
  await enclaves.settle(engine);
  await launches.recover(engine);
  governor.over(engine);
}

/** Opens volumes, which are mounted before any slot is brought back, and slots, which may lie in them. */
async function volumesAndSlots(
  parts: RoomsParts,
  personas: PersonasRoom,
): Promise<{ volumes: VolumesRoom; slots: Slots }> {
  const { paths, log } = parts;
  const heldBy = async (volume: VolumeName) => [
    ...slotsIn(slots.room, volume),
    ...(await partitionsIn(parts.store, volume)),
  ];
  const volumes = await openVolumes({ paths, log, now: wallMs, heldBy });
  const slots = await slotsOver(parts, personas, {
    slotsOf: (volume) => volumes.slotsOf(volume as VolumeName),
    freeBytes: (volume) => volumes.freeBytes(volume as VolumeName),
  });
  return { volumes, slots };
}

/** Opens applications, and the launches of them. */
async function launchesOver(
  parts: RoomsParts,
  {
    partitions,
    enclaves,
    fast,
  }: {
    partitions: PartitionsRoom;
    enclaves: ReturnType<typeof openEnclaves>;
    fast: ReturnType<typeof openFast>;
  },
) {
  const able = ableOf(parts);
  const machine = { able, hasBubblewrap, landlock: landlockHere };
  const secure = new SecureLaunches({
    ...parts,
    ...machine,
    home: enclaves.home,
    anyHome: enclaves.any,
    now: wallMs,
  });
  await secure.open();
  const obstacles: ApplicationParts['obstacles'] = (caller, enclave) =>
    secure.obstacles(caller, enclave);
  const { room: known, ...applications } = openApplications({
    ...{ ...parts, now: wallMs, obstacles },
    kept: (account, app) => launches.kept(account, app),
  });
  const inMemory = new FastLaunches(fast.room, known.machine, { ...parts, now: wallMs });
  const launches = openLaunches({
    ...parts,
    partitions,
    secure,
    fast: inMemory,
    applications: known,
  });
  return { applications, inMemory, launches };
}

/** What the machine can do, by the id of the capability. */
function ableOf({ machine }: Pick<RoomsParts, 'machine'>): (id: string) => boolean {
  const works = new Set(machine.list.filter(({ works }) => works).map(({ id }) => id));
  return (id) => works.has(id);
}

/** Opens slots. While degraded nothing of them is brought back, but what the rows say is shown. */
async function slotsOver(
  { store, log, paths, machine, degraded, accountOf }: RoomsParts,
  personas: PersonasRoom,
  volumes: SlotVolumes,
): Promise<Slots> {
  const slots = await openSlots({
    store,
    source: personaSource(personas),
    log,
    paths,
    volumes,
    ways: machine.ways,
    able: ableOf({ machine }),
    accountOf,
    now: wallMs,
  });
  if (degraded !== undefined) slots.room.book.load(await readFacts(store));
  return slots;
}

const shareFrom = ({ settings: { values }, accountOf }: RoomsParts): OwnerShare => ({
  count: values['personas.owner_count'],
  bytes: values['personas.owner_bytes'],
  accountOf,
});

const retentionFrom = ({ values }: Settings) =>
  retentionOf(values['slots.keep_generations'], values['slots.keep_failed_days']);

/** Tasks of bases, with what they want of others. */
const baseTasksOver = (personas: PersonasRoom, slots: Slots, space: Space): AnyTask[] =>
  baseTasks(personas, {
    space: (bytes) => space.check(bytes),
    release: (digest) => slots.room.layers.forget(digest),
  });

const ownersOver = (personas: PersonasRoom, slots: Slots) => ({
  slot: async (name: string) => slots.room.book.find(name)?.owner,
  ...personaOwners(personas),
});

/** Images that programs write in. */
async function writtenImages(
  volumes: VolumesRoom,
  enclaves: ReturnType<typeof openEnclaves>,
): Promise<WrittenImage[]> {
  const [ours, theirs] = await Promise.all([healthOfAll(volumes), enclaves.health()]);
  return [
    ...ours.map((one) => ({ kind: 'volume' as const, owner: 0, ...one })),
    ...theirs.map((one) => ({ kind: 'enclave' as const, ...one })),
  ];
}

/** The rooms beside slots that may have something to tell. */
interface NoticeRooms {
  partitions: PartitionsRoom;
  fast: ReturnType<typeof openFast>;
  volumes: VolumesRoom;
  governor: Governor;
  enclaves: ReturnType<typeof openEnclaves>;
  launches: ReturnType<typeof openLaunches>;
}

/** What they have to tell a person. */
async function noticesOf(
  { partitions, fast, volumes, governor, enclaves, launches }: NoticeRooms,
  left: { text: string; command: string }[],
): Promise<{ text: string; command: string }[]> {
  return [
    ...memoryNotices(partitions),
    ...(await fast.notices()),
    ...volumeNotices(volumes),
    ...governor.notices(),
    ...(await enclaves.notices()),
    ...launches.notices(),
    ...left,
  ];
}

/** What the rooms beside slots have looked at, for `doctor`. */
async function checksOf(
  partitions: PartitionsRoom,
  volumes: VolumesRoom,
  governor: Governor,
  integrity: Integrity,
): Promise<Check[]> {
  const sizes = governor.check();
  return [
    ...(await memoryChecks(partitions)),
    ...(await volumeChecks(volumes)),
    ...(sizes ? [sizes] : []),
    ...(await integrity.checks()),
  ];
}
