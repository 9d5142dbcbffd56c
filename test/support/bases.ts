import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import type { Engine } from '../../daemon/changes/engine.ts';
import { noFaults } from '../../daemon/changes/faults.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { statePlaces } from '../../daemon/config/paths.ts';
import { planBaseImport } from '../../daemon/personas/base-import.ts';
import { planBaseRemoval } from '../../daemon/personas/base-rm.ts';
import { openPersonasRoom, type PersonasRoom } from '../../daemon/personas/room.ts';
import { type BaseTaskParts, baseTasks } from '../../daemon/personas/tasks/base-tasks.ts';
import { openDriver, openStore } from '../../daemon/store/database.ts';
import type { Store } from '../../daemon/store/store.ts';
import type { Hooks, Machine, Subject } from '../changes/proofs.ts';
import { wholeShare } from './personas.ts';
import { quietEngine } from './quiet-engine.ts';

/** The part of a daemon that imports bases, on a folder of its own. */
export interface BaseMachine {
  room: PersonasRoom;
  store: Store;
  engine: Engine;
  state: string;
  run(plan: Plan | Promise<Plan>): Promise<Result>;
  close(): Promise<void>;
}

const plain: Hooks = { faults: noFaults, openDriver, wrapTask: (task) => task };

/** Opens it; not yet recovered. */
export async function openBaseMachine(
  folder: string,
  hooks: Hooks = plain,
  parts: BaseTaskParts = { space: async () => {} },
): Promise<BaseMachine> {
  const state = join(folder, 'state');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const store = await openStore(join(folder, 'test.db'), { open: hooks.openDriver });
  const room = await openPersonasRoom({
    store,
    paths: { state },
    space: { spareBytes: () => Number.MAX_SAFE_INTEGER },
    share: wholeShare,
    now: Date.now,
  });
  const engine = quietEngine(store, baseTasks(room, parts).map(hooks.wrapTask), hooks.faults);
  return {
    room,
    store,
    engine,
    state,
    run: async (plan) => await (await engine.submit(await plan)).done,
    close: () => store.close(),
  };
}

/** Names in the places where an import leaves something. */
export function storeFiles(state: string): Record<string, string[]> {
  const places = [statePlaces.layers, statePlaces.staging, statePlaces.quarantine];
  return Object.fromEntries(
    places.map((place) => {
      try {
        return [place, readdirSync(join(state, place)).sort()];
      } catch {
        return [place, []];
      }
    }),
  );
}

async function observe({ store, state }: BaseMachine): Promise<Json> {
  const bases = await store.all('SELECT name, digest, owner FROM bases ORDER BY name');
  const layers = await store.all('SELECT digest, kind, bytes, made FROM layers ORDER BY digest');
  return { bases, layers, files: storeFiles(state) } as unknown as Json;
}

function subject(
  prepare: (machine: BaseMachine, folder: string) => Promise<void>,
  plan: (machine: BaseMachine, folder: string) => Promise<Plan>,
): Subject {
  return {
    async prepare(folder) {
      const tree = join(folder, 'tree');
      mkdirSync(join(tree, 'etc'), { recursive: true });
      writeFileSync(
        join(tree, 'etc/os-release'),
        'ID=test\nVERSION_ID="1"\nPRETTY_NAME="Test 1"\n',
      );
      // Times are content: equal runs need equal ones.
      for (const path of ['etc/os-release', 'etc', '']) utimesSync(join(tree, path), 1e9, 1e9);
      const machine = await openBaseMachine(folder);
      await machine.engine.recover();
      await prepare(machine, folder);
      await machine.close();
    },
    async open(folder, hooks): Promise<Machine> {
      const machine = await openBaseMachine(folder, hooks);
      return {
        engine: machine.engine,
        plan: async () => await plan(machine, folder),
        observe: async () => await observe(machine),
        close: machine.close,
      };
    },
  };
}

const treeImport = (folder: string, name: string) =>
  ({ name, source: { kind: 'path', path: join(folder, 'tree') } }) as const;

/** The import of a small tree. */
export const importing = subject(
  async () => {},
  ({ room }, folder) => planBaseImport(room, treeImport(folder, 'one'), 0),
);

/** The removal of a base. */
export const removing = subject(
  async ({ room, run }, folder) => {
    const result = await run(planBaseImport(room, treeImport(folder, 'one'), 0));
    if (result.status !== 'done') throw new Error(JSON.stringify(result));
  },
  ({ room }) => planBaseRemoval(room, { base: 'one' }, 0),
);
