import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { failedWith } from '../../kernel/errno.ts';
import { giveBack, openImage } from '../backing.ts';
import { ballastBytes, ballastRanges, fillBallast, releaseBallast } from '../ballast.ts';
import type { VolumesRoom } from '../room.ts';
import { type ResizeParams, wrongByNow } from './grow.ts';

/**
 * Takes free blocks of a volume away from it, while programs write there. They are the volume's own until they are given back. Undone to
 * the ballast that was there when it began, never to what was planned: a change before this one may have given blocks below it back.
 */
export function fillBallastTask(room: VolumesRoom): AnyTask {
  return defineTask<ResizeParams, { had: number }>({
    kind: 'volumes.fill-ballast',
    summary: ({ name, fromBytes, toBytes }) =>
      `take ${formatSize(fromBytes - toBytes)} that are free in volume ${name}`,
    async do(context, { name, toBytes }) {
      const { limitBytes } = room.ready(name);
      const { ballast, at } = room.places(name);
      const had = ballastBytes(ballast);
      const wanted = limitBytes - toBytes;
      if (had > wanted) throw wrongByNow(name, limitBytes - had);
      if (had < wanted) await context.save({ had });
      try {
        await fillBallast(ballast, wanted, context.signal);
      } catch (error) {
        if (!failedWith(error, 'ENOSPC')) throw error;
        throw new PersonaError('no-space', {
          needed: `${formatSize(wanted - had)} to give back`,
          free: formatSize(room.freeBytes(name)),
          path: at,
        });
      }
      await context.fault('volumes:filled');
    },
    async undo(_context, { name }, saved) {
      if (saved === undefined) return;
      room.ready(name);
      await releaseBallast(room.places(name).ballast, saved.had);
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
