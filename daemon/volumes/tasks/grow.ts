import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import { localSpaceOf } from '../../kernel/disk-usage.ts';
import { failedWith } from '../../kernel/errno.ts';
import { giveBack, openImage, own } from '../backing.ts';
import { ballastRanges, releaseBallast } from '../ballast.ts';
import type { VolumesRoom } from '../room.ts';
import type { VolumeName } from '../volume.ts';

/**
 * A volume on its way from one size to another. The ballast is what its limit leaves beside the size. The first is the size at the time
 * of the plan: when its turn comes, a change before it may have left another one.
 */
export interface ResizeParams {
  name: VolumeName;
  fromBytes: number;
  toBytes: number;
}

/** A change before this one has left a size from which it would not do what was asked for. */
export function wrongByNow(name: VolumeName, bytes: number): PersonaError {
  return new PersonaError('bad-value', {
    name: 'the size',
    reason: `volume ${name} has ${formatSize(bytes)} by now, after a change before this one; ask again`,
  });
}

/** Sets aside the blocks below the end of the ballast, which the volume is to get. Throws no-space. */
export async function reserve(
  room: VolumesRoom,
  { name, toBytes }: ResizeParams,
  { signal, fault }: TaskContext,
): Promise<void> {
  const { limitBytes } = room.ready(name);
  const { image, ballast } = room.places(name);
  using file = openImage(image);
  const [first, ...others] = await ballastRanges(ballast, limitBytes - toBytes);
  if (first === undefined) return; // a start came after the ballast was cut
  try {
    await own(file, [first], signal);
    await fault('volumes:reserving');
    await own(file, others, signal);
  } catch (error) {
    if (!failedWith(error, 'ENOSPC', 'EDQUOT')) throw error;
    throw new PersonaError('no-space', {
      needed: `${formatSize(toBytes)} for volume ${name}`,
      free: formatSize(localSpaceOf(room.folder).availableBytes),
      path: room.folder,
    });
  }
}

/** Gives whatever lies below the ballast back to the disk. */
export async function giveBackBallast(room: VolumesRoom, name: VolumeName): Promise<void> {
  room.ready(name);
  const { image, ballast } = room.places(name);
  using file = openImage(image);
  await giveBack(file, await ballastRanges(ballast));
}

/** Sets blocks of the disk aside for what a volume is to hold more. */
export function reserveTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'volumes.reserve',
    summary: ({ name, fromBytes, toBytes }) =>
      `set ${formatSize(toBytes - fromBytes)} of the disk aside for volume ${name}`,
    async do(context, params) {
      const { name, fromBytes, toBytes } = params;
      const has = room.sizeBytes(room.ready(name));
      // Of a smaller one nobody has asked the disk whether it has so much more.
      if (has < fromBytes || has > toBytes) throw wrongByNow(name, has);
      await reserve(room, params, context);
      await context.fault('volumes:reserved');
    },
    undo: (_context, { name }) => giveBackBallast(room, name),
  });
}

/** Gives blocks that were set aside to the volume. They are asked for again: a start may lie in between. */
export function releaseBallastTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'volumes.release-ballast',
    summary: ({ name, toBytes }) => `let volume ${name} use ${formatSize(toBytes)}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, params) {
      await reserve(room, params, context);
      const { limitBytes } = room.ready(params.name);
      await releaseBallast(room.places(params.name).ballast, limitBytes - params.toBytes);
      await context.fault('volumes:released');
    },
  });
}
