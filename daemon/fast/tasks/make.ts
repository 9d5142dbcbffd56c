import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import type { Zram } from '../../kernel/zram.ts';
import type { Choice } from '../choose.ts';
import { putPartition } from '../fast-rows.ts';
import type { FastPartition, Opened } from '../partition.ts';
import type { FastRoom } from '../room.ts';

/** What is to be given back: as the partition has it, in the words of the journal. */
type Saved = { swaps?: boolean; buffered?: boolean; device?: Zram };

export interface MakeParams {
  partition: FastPartition;
  /** Its medium is the one that was chosen in this change. */
  auto?: true;
}

/** The partition as it is to be made; undefined when nothing would be gained. */
function settled(context: TaskContext, { partition, auto }: MakeParams): FastPartition | undefined {
  if (auto !== true) return partition;
  const { on } = context.earlier('fast.measure') as unknown as Choice;
  return on === 'none' ? undefined : { ...partition, medium: on };
}

/** Makes a partition and shows it. Limits are looked at again: others may have taken what was free when it was planned. */
export function makeTask(room: FastRoom): AnyTask {
  return defineTask<MakeParams, Saved>({
    kind: 'fast.make',
    summary: ({ partition: { name, bytes, medium }, auto }) =>
      `make fast partition ${name} of ${formatSize(bytes)} on ${auto ? 'what was chosen' : medium}, and show it to its owner`,
    pointOfNoReturn: true,
    async do(context, params) {
      const partition = settled(context, params);
      if (partition === undefined) return undefined;
      await room.admit(partition);
      await context.fault('admitted');
      const save = (opened: Opened) => context.save({ ...opened });
      const { opened } = await room.place.show(partition, room.medium(partition), save);
      await context.fault('shown');
      return { record: (tx) => putPartition(tx, { ...partition, ...opened }, context.changeId) };
    },
    async undo(context, params, saved) {
      const partition = settled(context, params);
      if (partition === undefined) return;
      await room.place.takeBack({ ...partition, ...saved }, room.medium(partition));
    },
  });
}
