import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json, TaskSpec } from '../changes/task.ts';
import type { VolumesRoom } from './room.ts';
import { keptFree, type VolumeName, volumeBytesMin } from './volume.ts';

const MiB = 1024 ** 2;

/** A volume as it is governed. Bytes. */
export interface VolumeUse {
  /** Of its file system. */
  id: string;
  sizeBytes: number;
  usedBytes: number;
  /** It can be made so small and no smaller, as it is used now. */
  leastBytes: number;
  mostBytes: number;
}

/** How a volume is used now; or why nothing can be moved from it or to it. */
export function useOf(room: VolumesRoom, name: VolumeName): VolumeUse | { obstacle: string } {
  if (!room.isKnown(name)) return { obstacle: `there is no volume ${name}` };
  if (!room.isReady(name)) return { obstacle: `volume ${name} cannot be used` };
  if (room.missing(name) > 0) return { obstacle: `not all blocks of volume ${name} are set aside` };
  const volume = room.volume(name);
  const sizeBytes = room.sizeBytes(volume);
  const usedBytes = Math.max(0, sizeBytes - room.freeBytes(name));
  return {
    id: volume.uuid,
    sizeBytes,
    usedBytes,
    leastBytes: Math.max(volumeBytesMin, usedBytes + keptFree(sizeBytes)),
    mostBytes: volume.limitBytes,
  };
}

/** Space on its way from one volume to another, and why. */
export interface MoveParams {
  from: VolumeName;
  to: VolumeName;
  /** Whole MiB. */
  bytes: number;
  why: string;
}

const task = (kind: string, params: object): TaskSpec => ({ kind, params: params as Json });

/**
 * Makes one volume smaller and the other larger by the same, while both are in use. It is refused on a disk with less free than is kept
 * free: between the two steps the space is everybody's. Throws volume-not-found, state-damaged, bad-value.
 */
export function planMove(room: VolumesRoom, { from, to, bytes, why }: MoveParams): Plan {
  const [giver, taker] = [room.ready(from), room.ready(to)];
  const had = { from: room.sizeBytes(giver), to: room.sizeBytes(taker) };
  const use = useOf(room, from);
  const least = 'obstacle' in use ? had.from : use.leastBytes;
  if (bytes <= 0 || bytes % MiB !== 0 || had.to + bytes > taker.limitBytes)
    throw new PersonaError('bad-value', { name: 'the move', reason: `${bytes} bytes to ${to}` });
  if (had.from - bytes < least)
    throw new PersonaError('no-space', {
      needed: `${formatSize(bytes)} to give away`,
      free: formatSize(Math.max(0, had.from - least)),
      path: room.places(from).at,
    });
  const what = `move ${formatSize(bytes)} from volume ${from} to volume ${to}`;
  const gives = { name: from, fromBytes: had.from, toBytes: had.from - bytes };
  return {
    kind: 'volume.move',
    summary: `${what} (${why})`,
    ownerUid: 0,
    holds: [`volume:${from}`, `volume:${to}`],
    tasks: [
      task('volumes.fill-ballast', gives),
      task('volumes.decide', { name: from, what }),
      task('volumes.give-back', gives),
      task('volumes.take-given', { name: to, fromBytes: had.to, toBytes: had.to + bytes }),
    ],
    needs: { bytes: 0 },
    conflict: 'refuse',
  };
}
