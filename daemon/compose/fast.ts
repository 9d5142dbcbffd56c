import { PersonaError } from '../../ipc/errors.ts';
import type { FastPage } from '../../ipc/methods/shapes.ts';
import type { Rooms } from '../api/rooms.ts';
import type { Settings } from '../config/settings.ts';
import type { Choice } from '../fast/choose.ts';
import { readPartitions } from '../fast/fast-rows.ts';
import { fastTasks } from '../fast/fast-tasks.ts';
import type { FastVolumes } from '../fast/nvme.ts';
import { planCreate, planRemove, planResize } from '../fast/plan.ts';
import { type FastParts, FastRoom, type FastView } from '../fast/room.ts';
import { accountOf } from '../kernel/accounts.ts';
import { wallMs } from '../kernel/clock.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import { type Spare, spareOf } from '../partitions/spare.ts';
import type { Store } from '../store/store.ts';
import type { VolumesRoom } from '../volumes/room.ts';
import { fullBelow, type VolumeName } from '../volumes/volume.ts';
import { isOfApplication } from './fast-launches.ts';

type FastMethods = Pick<Rooms, Extract<keyof Rooms, `fast.${string}`>>;

function pageOf(view: FastView): FastPage {
  const { name, owner, medium, bytes, usedBytes, memoryBytes, path, state, problem } = view;
  const { shown, createdMs, emptiedMs, swaps, buffered, volume } = view;
  const ownerName = accountOf(owner)?.name;
  return {
    name,
    owner: { uid: owner, ...(ownerName === undefined ? {} : { name: ownerName }) },
    on: medium,
    ...(volume === undefined ? {} : { volume: volume as VolumeName }),
    bytes,
    usedBytes,
    memoryBytes,
    path,
    state: state === 'ready' && !shown ? 'missing' : state,
    ...(problem === undefined ? {} : { problem }),
    createdMs,
    ...(emptiedMs === undefined ? {} : { emptiedMs }),
    ...(swaps === undefined ? {} : { swaps }),
    ...(buffered === undefined ? {} : { buffered }),
  };
}

/** The name, unless it is that of a partition of an application, which comes and goes with its launches. */
function notOfApplication(name: string): string {
  if (!isOfApplication(name)) return name;
  throw new PersonaError('in-use', {
    what: `fast partition ${name}`,
    by: 'an application that works in memory',
  });
}

/** The methods of fast partitions. */
function fastMethods(room: FastRoom): FastMethods {
  return {
    'fast.create': async ({ name, bytes, on, volume }, { caller }) => ({
      plan: await planCreate(
        room,
        { name: notOfApplication(name), bytes, medium: on, volume },
        caller,
      ),
      answer: async (given) => {
        const { choice } = (given ?? {}) as unknown as { choice?: Choice };
        if (choice?.on === 'none') return { choice };
        return { partition: pageOf(await room.view(name)), ...(choice && { choice }) };
      },
    }),
    'fast.list': async (_, { caller }) => ({
      partitions: (await room.views(caller.uid === 0 ? undefined : caller.uid)).map(pageOf),
    }),
    'fast.resize': async ({ name, bytes }, { caller }) => ({
      plan: await planResize(room, { name: notOfApplication(name), bytes }, caller),
      answer: async () => ({ partition: pageOf(await room.view(name)) }),
    }),
    'fast.rm': async ({ name }, { caller }) => ({
      plan: await planRemove(room, notOfApplication(name), caller),
    }),
  };
}

/** What is shown is not older than this. */
const freshMs = 500;

/** Memory that fast partitions may take, by what the room of memory shares sees now. */
async function spareMemory({ loop }: PartitionsRoom): Promise<Spare> {
  await loop.lookAgain(freshMs);
  if (loop.last === undefined) throw new Error('the memory of the machine cannot be seen');
  return spareOf(loop.last, loop.choice.settings);
}

/** What fast partitions need of volumes. */
const volumesFor = (room: VolumesRoom): FastVolumes => ({
  usable: () => room.mounted(),
  fastOf: (volume) => room.fastOf(volume as VolumeName),
  spareBytes(volume) {
    const ready = room.ready(volume as VolumeName);
    return room.freeBytes(ready.name) - fullBelow(room.sizeBytes(ready));
  },
});

/** Fast partitions that lie in a volume, in words. */
export async function partitionsIn(store: Store, volume: string): Promise<string[]> {
  return (await readPartitions(store))
    .filter((one) => one.volume === volume)
    .map(({ name }) => `fast partition ${name}`);
}

/** What the room of fast partitions is opened with. */
type Parts = Omit<FastParts, 'settings' | 'memory' | 'now' | 'speedOf' | 'volumes'> & {
  settings: Settings;
  hooks?: { speedOf?: FastParts['speedOf'] };
};

/** Opens the room of fast partitions: its steps and methods, and what the daemon does with it. */
export function openFast(parts: Parts, partitions: PartitionsRoom, volumes: VolumesRoom) {
  const room = new FastRoom({
    ...parts,
    settings: parts.settings.values,
    memory: () => spareMemory(partitions),
    volumes: volumesFor(volumes),
    now: wallMs,
    ...(parts.hooks?.speedOf && { speedOf: parts.hooks.speedOf }),
  });
  return {
    room,
    tasks: fastTasks(room),
    methods: fastMethods(room),
    recover: () => room.recover(),
    notices: () => room.notices(),
    ownerOf: async (name: string) => (await room.find(name))?.owner,
    close: () => room.close(),
  };
}
