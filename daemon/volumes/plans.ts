import { randomUUID } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import type { VolumesRoom } from './room.ts';
import {
  limitPerByte,
  limitPerByteMax,
  type Volume,
  type VolumeName,
  volumeBytesMax,
  volumeBytesMin,
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

/** Removes a volume with all that is in it. Throws volume-not-found, and in-use when it holds data and `discard` was not said. */
export function planRemove(
  room: VolumesRoom,
  params: { name: VolumeName; discard?: boolean | undefined },
  ownerUid: number,
): Plan {
  const { name } = params;
  const volume = room.volume(name);
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
