import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import { releaseBallast } from '../ballast.ts';
import type { VolumesRoom } from '../room.ts';
import { giveBackBallast, type ResizeParams, reserve } from './grow.ts';

const MiB = 1024 ** 2;

const isNoSpace = (error: unknown): boolean =>
  error instanceof PersonaError && error.code === 'no-space';

/** Sets aside what the volume is to get, or as much of it as the disk still has. Returns the size that it can have, at least what it has. */
async function reserved(
  room: VolumesRoom,
  params: ResizeParams,
  context: TaskContext,
): Promise<number> {
  const { name, fromBytes } = params;
  let more = params.toBytes - fromBytes;
  while (more > 0) {
    const toBytes = fromBytes + more;
    try {
      await reserve(room, { ...params, toBytes }, context);
      return toBytes;
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      await giveBackBallast(room, name);
      more = Math.floor(more / 2 / MiB) * MiB;
    }
  }
  return room.sizeBytes(room.volume(name));
}

/**
 * Lets one volume have what another has just given to the disk. Between the two anyone may write there: what is gone by then the volume
 * does not get, and the change says so instead of waiting for it.
 */
export function takeGivenTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'volumes.take-given',
    summary: ({ name, fromBytes, toBytes }) =>
      `let volume ${name} have ${formatSize(toBytes - fromBytes)} more`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, params) {
      const { name, fromBytes } = params;
      const toBytes = await reserved(room, params, context);
      await context.fault('volumes:taken');
      const { limitBytes } = room.ready(name);
      await releaseBallast(room.places(name).ballast, limitBytes - toBytes);
      return { result: { name, bytes: Math.max(0, toBytes - fromBytes) } };
    },
  });
}
