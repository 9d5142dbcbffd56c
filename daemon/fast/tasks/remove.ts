import { type AnyTask, defineTask } from '../../changes/task.ts';
import { deletePartition, putPartition } from '../fast-rows.ts';
import type { FastRoom } from '../room.ts';

export interface RemoveParams {
  name: string;
}

/** Nobody may be inside. */
function vacateTask(room: FastRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'fast.vacate',
    summary: ({ name }) => `make sure that nobody is in fast partition ${name}`,
    ephemeral: true,
    undo: 'nothing-to-undo',
    async do(_context, { name }) {
      const partition = await room.partition(name);
      await room.place.vacate(partition, room.medium(partition));
    },
  });
}

/** What it holds is lost from here on: nothing brings memory back. It goes on counting until it has ended. */
function giveUpTask(room: FastRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'fast.give-up',
    summary: ({ name }) => `give up fast partition ${name} and what it holds`,
    pointOfNoReturn: true,
    undo: 'nothing-to-undo',
    async do(_context, { name }) {
      const partition = await room.partition(name);
      return { record: (tx) => putPartition(tx, { ...partition, state: 'ending' }) };
    },
  });
}

function endTask(room: FastRoom): AnyTask {
  return defineTask<RemoveParams>({
    kind: 'fast.remove',
    summary: ({ name }) => `take off fast partition ${name} and free what it took`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, { name }) {
      const partition = await room.find(name);
      // Its row goes last: without it the work is done.
      if (partition === undefined) return { result: { name } };
      await room.place.end(partition, room.medium(partition));
      await context.fault('ended');
      room.forget(partition);
      return { record: (tx) => deletePartition(tx, name), result: { name } };
    },
  });
}

/** The steps of a removal, in order. */
export const removeTasks = (room: FastRoom): AnyTask[] => [
  vacateTask(room),
  giveUpTask(room),
  endTask(room),
];
