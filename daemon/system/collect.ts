import { collectedMax, formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../changes/task.ts';
import type { Tx } from '../store/store.ts';

/** One thing that nothing refers to any more. */
export interface Collectable {
  /** As in the table of `system df`. */
  kind: string;
  name: string;
  bytes: number;
}

/** What a part of the daemon has to give up, and how. Its parameters are plain data of its own. */
export interface Collector {
  /** Names the parameters in the plan. */
  key: string;
  /** What nothing uses now, at most so many things, what must be held while it goes, and the parameters of the rest. */
  find(most: number): Promise<{ things: Collectable[]; holds: string[]; params: Json }>;
  /** What the parameters stand for. */
  things(params: Json): Collectable[];
  /** Removes the rows. Checks again, in the same transaction, that nothing refers to them. */
  forget(tx: Tx, params: Json): void;
  /** Removes what the rows were about; returns what really went. Safe to repeat. */
  remove(context: TaskContext, params: Json): Promise<Collectable[]>;
}

type Params = Record<string, Json>;

/** Things of one collector that are counted for `system df`. */
const countedMax = 10_000;

/** Things named in one line of a dry run. */
const namedMax = 20;

/** What goes, in words: a dry run is read by people before they say yes. */
function named(collectors: readonly Collector[], params: Params): string {
  const things = collectors.flatMap((one) => one.things(params[one.key] ?? null));
  const lines = things
    .slice(0, namedMax)
    .map(({ kind, name, bytes }) => `${kind} ${name} (${formatSize(bytes)})`);
  if (things.length > namedMax) lines.push(`${things.length - namedMax} more`);
  return lines.length === 0 ? 'nothing' : lines.join(', ');
}

/** The one step that decides: all rows go in one transaction. */
function forgetTask(collectors: readonly Collector[]): AnyTask {
  return defineTask<Params>({
    kind: 'system.forget',
    summary: () => 'forget what nothing uses',
    pointOfNoReturn: true,
    undo: 'nothing-to-undo',
    async do(_, params) {
      return {
        record: (tx) => {
          for (const one of collectors) one.forget(tx, params[one.key] ?? null);
        },
      };
    },
  });
}

function removeTask(collectors: readonly Collector[]): AnyTask {
  return defineTask<Params>({
    kind: 'system.remove',
    summary: (params) => `remove ${named(collectors, params)}`,
    forward: true,
    undo: 'nothing-to-undo',
    timeoutMs: 3_600_000,
    async do(context, params) {
      const removed: Collectable[] = [];
      for (const one of collectors)
        removed.push(...(await one.remove(context, params[one.key] ?? null)));
      const bytes = removed.reduce((sum, thing) => sum + thing.bytes, 0);
      // The plan of an earlier version may name more.
      const told = removed.slice(0, collectedMax).map((thing) => ({ ...thing }));
      const more = removed.length - told.length;
      return { result: { removed: told, ...(more > 0 && { more }), bytes } };
    },
  });
}

/** The tasks of a collection. */
export function collectTasks(collectors: readonly Collector[]): AnyTask[] {
  return [forgetTask(collectors), removeTask(collectors)];
}

/** What collections would remove now. */
export async function collectables(collectors: readonly Collector[]): Promise<Collectable[]> {
  const found = await Promise.all(collectors.map((one) => one.find(countedMax)));
  return found.flatMap(({ things }) => things);
}

/** The collection as a plan: its parameters name every single thing that would go. */
export async function planCollect(
  collectors: readonly Collector[],
  ownerUid: number,
): Promise<Plan> {
  const params: Record<string, Json> = {};
  // A backup that is being written needs what its rows name.
  const holds = new Set(['shared:removal:all']);
  const things: Collectable[] = [];
  // Of all together: plan and answer name each, and the journal takes no long values.
  for (const one of collectors) {
    const found = await one.find(collectedMax - things.length);
    params[one.key] = found.params;
    things.push(...found.things);
    for (const hold of found.holds) holds.add(hold);
  }
  return {
    kind: 'system.gc',
    summary: `remove ${things.length} unused things`,
    ownerUid,
    holds: [...holds],
    tasks: [
      { kind: 'system.forget', params },
      { kind: 'system.remove', params },
    ],
    needs: { rescue: true },
  };
}
