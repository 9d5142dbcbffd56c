import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { failedWith } from '../../kernel/errno.ts';
import { giveBack, openImage } from '../backing.ts';
import { ballastRanges, fillBallast, releaseBallast } from '../ballast.ts';
import type { VolumesRoom } from '../room.ts';
import type { ResizeParams } from './grow.ts';

/** Takes free blocks of a volume away from it, while programs write there. They are the volume's own until they are given back. */
export function fillBallastTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'volumes.fill-ballast',
    summary: ({ name, fromBytes, toBytes }) =>
      `take ${formatSize(fromBytes - toBytes)} that are free in volume ${name}`,
    async do(context, { name, fromBytes, toBytes }) {
      const { limitBytes } = room.ready(name);
      const { ballast, at } = room.places(name);
      try {
        await fillBallast(ballast, limitBytes - toBytes, context.signal);
      } catch (error) {
        if (!failedWith(error, 'ENOSPC')) throw error;
        throw new PersonaError('no-space', {
          needed: `${formatSize(fromBytes - toBytes)} to give back`,
          free: formatSize(room.freeBytes(name)),
          path: at,
        });
      }
      await context.fault('volumes:filled');
    },
    async undo(_context, { name, fromBytes }) {
      const { limitBytes } = room.ready(name);
      await releaseBallast(room.places(name).ballast, limitBytes - fromBytes);
    },
  });
}

/** Gives the blocks below the ballast back to the file system of the state tree. */
export function giveBackTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'volumes.give-back',
    summary: ({ name, fromBytes, toBytes }) =>
      `give ${formatSize(fromBytes - toBytes)} of volume ${name} back to the disk`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, { name }) {
      room.ready(name);
      const { image, ballast } = room.places(name);
      using file = openImage(image);
      const [first, ...others] = await ballastRanges(ballast);
      if (first !== undefined) await giveBack(file, [first]);
      await context.fault('volumes:giving');
      await giveBack(file, others);
    },
  });
}
