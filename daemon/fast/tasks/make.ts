import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import type { Zram } from '../../kernel/zram.ts';
import { putPartition } from '../fast-rows.ts';
import type { FastPartition, Opened } from '../partition.ts';
import type { FastRoom } from '../room.ts';

/** What is to be given back: as the partition has it, in the words of the journal. */
type Saved = { swaps?: boolean; buffered?: boolean; device?: Zram };

export interface MakeParams {
  partition: FastPartition;
}

/** Makes a partition and shows it. Limits are looked at again: others may have taken what was free when it was planned. */
export function makeTask(room: FastRoom): AnyTask {
  return defineTask<MakeParams, Saved>({
    kind: 'fast.make',
    summary: ({ partition: { name, bytes, medium } }) =>
      `make fast partition ${name} of ${formatSize(bytes)} on ${medium}, and show it to its owner`,
    pointOfNoReturn: true,
    async do(context, { partition }) {
      await room.admit(partition);
      await context.fault('admitted');
      const save = (opened: Opened) => context.save({ ...opened });
      const { opened } = await room.place.show(partition, room.medium(partition), save);
      await context.fault('shown');
      return { record: (tx) => putPartition(tx, { ...partition, ...opened }, context.changeId) };
    },
    async undo(_context, { partition }, saved) {
      await room.place.takeBack({ ...partition, ...saved }, room.medium(partition));
    },
  });
}
