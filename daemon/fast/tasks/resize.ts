import { isCode, PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { localSpaceOf } from '../../kernel/disk-usage.ts';
import { putPartition } from '../fast-rows.ts';
import type { FastRoom } from '../room.ts';

export interface ResizeParams {
  name: string;
  /** Of the very partition that was meant: another one may have its name by now. */
  id: string;
  bytes: number;
}

/** Gives a partition another size while it is in use. Its row has the old size until the commit. */
export function resizeTask(room: FastRoom): AnyTask {
  return defineTask<ResizeParams>({
    kind: 'fast.resize',
    summary: ({ name, bytes }) =>
      `give fast partition ${name} ${formatSize(bytes)} while it is in use`,
    pointOfNoReturn: true,
    async do(context, { name, id, bytes }) {
      const partition = await room.partition(name);
      if (partition.id !== id) throw new PersonaError('fast-not-found', { name });
      await room.admitSize(partition, bytes);
      await context.fault('admitted');
      await room.place.resize(partition, room.medium(partition), bytes);
      await context.fault('resized');
      return { record: (tx) => putPartition(tx, { ...partition, bytes }), result: { name } };
    },
    async undo(_context, { name, id }) {
      const partition = await room.find(name);
      const medium = partition?.id === id ? room.medium(partition) : undefined;
      if (partition === undefined || medium === undefined) return;
      if (room.place.shown(partition, medium) === undefined) return;
      try {
        await room.place.resize(partition, medium, partition.bytes);
        return;
      } catch (error) {
        if (!isCode(error, 'bad-value')) throw error;
      }
      // Its programs have filled more meanwhile: it keeps what it was given.
      const { totalBytes } = localSpaceOf(room.place.at(name));
      return { record: (tx) => putPartition(tx, { ...partition, bytes: totalBytes }) };
    },
  });
}
