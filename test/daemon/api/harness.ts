import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Rooms } from '../../../daemon/api/rooms.ts';
import { type Api, type ApiParts, startApi } from '../../../daemon/api/start.ts';
import type { Plan } from '../../../daemon/changes/change.ts';
import type { Engine } from '../../../daemon/changes/engine.ts';
import { noFaults } from '../../../daemon/changes/faults.ts';
import { defineTask } from '../../../daemon/changes/task.ts';
import { openDriver } from '../../../daemon/store/database.ts';
import { type Client, connect, socketPaths } from '../../../ipc/client.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { methods } from '../../../ipc/methods/index.ts';
import { openParts } from '../../changes/sample.ts';

/** The users of the tests. The subordinate id belongs to the owner. */
export const users = { root: 0, owner: 20_001, other: 20_002, user: 20_003, subuid: 120_005 };
/** Group of the control socket. */
export const groupGid = 24_242;

/** Gates that the task `test.gate` waits at. */
export class Gates {
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();
  get(name: string): PromiseWithResolvers<void> {
    const gate = this.#gates.get(name) ?? Promise.withResolvers<void>();
    this.#gates.set(name, gate);
    return gate;
  }
}

/** A served API over a real engine; rooms answer `not-supported` unless a test gives its own. */
export interface TestApi {
  api: Api;
  engine: Engine;
  gates: Gates;
  run: string;
  staging: string;
  /** A plan that waits at a gate. */
  gatePlan(name: string, ownerUid: number): Plan;
}

/** Rooms whose every function says that it was reached. */
function reachedRooms(): Rooms {
  const reached = () => {
    throw new PersonaError('not-supported', { what: 'the room was reached' });
  };
  const owners = {
    slot: async (name: string) => ({ work: users.owner, mine: users.user })[name],
    persona: async () => users.owner,
    base: async () => users.owner,
    fast: async () => users.owner,
    enclave: async () => users.owner,
  };
  const table = Object.fromEntries(Object.keys(methods).map((name) => [name, reached]));
  const status = {
    daemon: () => ({ startedMs: 1, state: 'ready' as const, stateFolder: '/state' }),
    machine: () => ({ hostName: 'box', kernel: '6.18.0' }),
    slots: async () => [],
    space: () => ({
      path: '/state',
      fileSystem: 'ext4',
      totalBytes: 100,
      freeBytes: 50,
      reserveBytes: 10,
    }),
    memory: () => undefined,
    inMemory: () => [],
    pinned: () => [],
    running: () => ({ applications: [], more: 0 }),
    integrity: async () => undefined,
    counts: async () => ({ bases: 0, personas: 0, slots: 0 }),
    fallbacks: () => [],
    notices: async () => [],
  };
  return { ...table, owners, status } as unknown as Rooms;
}

/** Serves `rooms` on sockets of its own; everything ends with the test. */
export async function startTestApi(
  t: ExecutionContext,
  rooms: Partial<Rooms> = {},
  more: Partial<ApiParts> = {},
): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), 'persona-api-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [run, staging] = [join(folder, 'run'), join(folder, 'staging')];
  mkdirSync(run);
  mkdirSync(staging, { mode: 0o700 });
  for (const open of [folder, run]) chmodSync(open, 0o711);
  const gates = new Gates();
  const gate = defineTask<string>({
    kind: 'test.gate',
    summary: (name) => `wait at ${name}`,
    async do({ signal }, name) {
      const stopped = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true });
      await Promise.race([gates.get(name).promise, stopped.promise]);
      return { result: { removed: [], bytes: 7 } };
    },
    undo: async () => {},
  });
  const hooks = { faults: noFaults, openDriver, wrapTask: (task: never) => task };
  const { store, engine } = await openParts(folder, [gate], hooks as never);
  await engine.recover();
  const api = await startApi({
    version: '1.2.3',
    engine,
    rooms: { ...reachedRooms(), ...rooms } as Rooms,
    run,
    staging,
    groupGid,
    ownerOf: (uid) => (uid >= 120_000 && uid < 130_000 ? users.owner : uid),
    space: () => {},
    report: (what, facts) => t.log(what, facts),
    ...more,
  });
  t.teardown(async () => {
    await api.close(0);
    await store.close();
  });
  const gatePlan = (name: string, ownerUid: number): Plan => ({
    kind: 'test.gate',
    summary: `gate ${name}`,
    ownerUid,
    holds: [`gate:${name}`],
    tasks: [{ kind: 'test.gate', params: name }],
  });
  return { api, engine, gates, run, staging, gatePlan };
}

/** A client of this process: root. */
export async function rootClient(t: ExecutionContext, run: string): Promise<Client> {
  const client = await connect(socketPaths(run));
  t.teardown(() => client.close());
  return client;
}

/** Makes calls as another user, one after the other; answers "ok" or an error code for each. */
export async function outcomesOf(
  uid: number,
  groups: readonly number[],
  run: string,
  requests: readonly (readonly [string, unknown])[],
): Promise<string[]> {
  const script = join(import.meta.dirname, 'caller-process.ts');
  const args = ['--no-warnings', script, String(uid), groups.join(','), run];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(requests));
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await once(child, 'close');
  return JSON.parse(text);
}
