import { randomUUID } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import type { VolumesRoom } from './room.ts';
import {
  keptFree,
  limitPerByte,
  limitPerByteMax,
  type Volume,
  type VolumeName,
  volumeBytesMax,
  volumeBytesMin,
  wayPastLimit,
  wholeMiB,
} from './volume.ts';

/** Records and names of one change. */
const SMALL_BYTES = 64 * 1024;

const task = (kind: string, params: object): TaskSpec => ({ kind, params: params as Json });
const holdsOf = (name: VolumeName): string[] => [`volume:${name}`];

function wrong(name: string, reason: string): PersonaError {
  return new PersonaError('bad-value', { name, reason });
}

/** The limit that is asked for, or four times the size, as far as the disk could ever give it. */
function limitOf(bytes: number, wanted: number | undefined, diskBytes: number): number {
  const limit = wholeMiB(wanted ?? Math.max(bytes, Math.min(bytes * limitPerByte, diskBytes)));
  if (limit < bytes) throw wrong('the limit', 'it is below the size');
  if (limit > Math.min(volumeBytesMax, bytes * limitPerByteMax))
    throw wrong(
      'the limit',
      `it is over ${limitPerByteMax} times the size, or over ${formatSize(volumeBytesMax)}`,
    );
  return limit;
}

function sizeOf(bytes: number): number {
  if (bytes < volumeBytesMin || bytes > volumeBytesMax)
    throw wrong(
      'the size',
      `it is not between ${formatSize(volumeBytesMin)} and ${formatSize(volumeBytesMax)}`,
    );
  return wholeMiB(bytes);
}

/** Makes a volume. Throws already-exists, bad-value. */
export function planCreate(
  room: VolumesRoom,
  params: { name: VolumeName; bytes: number; limitBytes?: number | undefined },
  ownerUid: number,
): Plan {
  const { name } = params;
  if (room.isKnown(name)) throw new PersonaError('already-exists', { what: `volume ${name}` });
  const bytes = sizeOf(params.bytes);
  const limitBytes = limitOf(bytes, params.limitBytes, localSpaceOf(room.folder).totalBytes);
  const volume: Volume = { name, uuid: randomUUID(), limitBytes, createdMs: room.parts.now() };
  return {
    kind: 'volume.create',
    summary: `make volume ${name} of ${formatSize(bytes)}`,
    ownerUid,
    holds: holdsOf(name),
    tasks: [
      task('volumes.make-image', { volume, bytes }),
      task('volumes.decide', { name, what: `keep the volume ${name}` }),
      task('volumes.show', { volume }),
    ],
    needs: { bytes: bytes + SMALL_BYTES },
  };
}

/**
 * Makes a volume larger or smaller, while it is in use. The size that it has already is fine: what should be the disk's is given back once more. Throws volume-not-found, bad-value, and no-space when it holds too much to become
 * so small; the free space of the disk is looked at when the change is taken.
 */
export function planResize(
  room: VolumesRoom,
  { name, bytes }: { name: VolumeName; bytes: number },
  ownerUid: number,
): Plan {
  const volume = room.ready(name);
  const toBytes = sizeOf(bytes);
  if (toBytes > volume.limitBytes)
    throw wrong(
      'the size',
      `volume ${name} was made to grow to ${formatSize(volume.limitBytes)} at most; ${wayPastLimit(name)}`,
    );
  const fromBytes = room.sizeBytes(volume);
  const params = { name, fromBytes, toBytes };
  const grows = toBytes > fromBytes;
  if (toBytes < fromBytes) checkRoom(room, name, fromBytes, toBytes);
  const what = `make volume ${name} ${formatSize(toBytes)} large`;
  return {
    kind: 'volume.resize',
    summary: what,
    ownerUid,
    holds: holdsOf(name),
    tasks: [
      task(grows ? 'volumes.reserve' : 'volumes.fill-ballast', params),
      task('volumes.decide', { name, what }),
      task(grows ? 'volumes.release-ballast' : 'volumes.give-back', params),
    ],
    needs: grows ? { bytes: toBytes - fromBytes } : { rescue: true },
  };
}

/** Throws no-space unless what is free inside is enough to give back, with some left for programs that write meanwhile. */
function checkRoom(room: VolumesRoom, name: VolumeName, fromBytes: number, toBytes: number): void {
  const free = room.freeBytes(name);
  if (free >= fromBytes - toBytes + keptFree(toBytes)) return;
  throw new PersonaError('no-space', {
    needed: `${formatSize(fromBytes - toBytes)} to give back and ${formatSize(keptFree(toBytes))} to go on`,
    free: formatSize(free),
    path: room.places(name).at,
  });
}

/** Removes a volume with all that is in it. Throws volume-not-found, and in-use when slots or fast partitions lie in it, or other data and `discard` was not said. */
export async function planRemove(
  room: VolumesRoom,
  params: { name: VolumeName; discard?: boolean | undefined },
  ownerUid: number,
): Promise<Plan> {
  const { name } = params;
  const volume = room.volume(name);
  await room.checkUnheld(name);
  if (params.discard !== true && room.mayHoldData(name))
    throw new PersonaError('in-use', {
      what: `volume ${name}`,
      by: 'data that lies in it; say --discard to give it up',
    });
  return {
    kind: 'volume.rm',
    summary: `remove volume ${name}`,
    ownerUid,
    holds: holdsOf(name),
    tasks: [
      task('volumes.take-off', { volume }),
      task('volumes.decide', { name, what: `remove the volume ${name}` }),
      task('volumes.remove-image', { volume }),
    ],
    needs: { rescue: true },
  };
}
