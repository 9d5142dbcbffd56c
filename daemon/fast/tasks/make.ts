import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { putPartition } from '../fast-rows.ts';
import type { FastPartition } from '../partition.ts';
import type { FastRoom } from '../room.ts';

export interface MakeParams {
  partition: FastPartition;
}

/** Makes a partition and shows it. Limits are looked at again: others may have taken what was free when it was planned. */
export function makeTask(room: FastRoom): AnyTask {
  return defineTask<MakeParams>({
    kind: 'fast.make',
    summary: ({ partition: { name, bytes, medium } }) =>
      `make fast partition ${name} of ${formatSize(bytes)} on ${medium}, and show it to its owner`,
    pointOfNoReturn: true,
    async do(context, { partition }) {
      await room.admit(partition);
      await context.fault('admitted');
      const facts = await room.place.show(partition, room.medium(partition));
      await context.fault('shown');
      return { record: (tx) => putPartition(tx, { ...partition, ...facts }, context.changeId) };
    },
    async undo(_context, { partition }) {
      await room.place.takeBack(partition, room.medium(partition));
    },
  });
}
