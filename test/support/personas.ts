import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import type { Engine } from '../../daemon/changes/engine.ts';
import { noFaults } from '../../daemon/changes/faults.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { statePlaces } from '../../daemon/config/paths.ts';
import { planBaseImport } from '../../daemon/personas/base-import.ts';
import { readBase } from '../../daemon/personas/bases.ts';
import type { CreateParams, Given } from '../../daemon/personas/persona-create.ts';
import type { PersonaPage } from '../../daemon/personas/persona-page.ts';
import { personaTasks } from '../../daemon/personas/persona-tasks.ts';
import {
  exportPersona,
  importedPersona,
  planCreate,
  planImport,
} from '../../daemon/personas/personas.ts';
import { openPersonasRoom, type PersonasRoom } from '../../daemon/personas/room.ts';
import { baseTasks } from '../../daemon/personas/tasks/base-tasks.ts';
import { openDriver, openStore } from '../../daemon/store/database.ts';
import type { Store } from '../../daemon/store/store.ts';
import type { Hooks, Machine } from '../changes/proofs.ts';
import { quietEngine } from './quiet-engine.ts';
import { temporaryFolder } from './temp.ts';

const plain: Hooks = { faults: noFaults, openDriver, wrapTask: (task) => task };

/** Nobody has too much. */
export const wholeShare = {
  count: Number.MAX_SAFE_INTEGER,
  bytes: Number.MAX_SAFE_INTEGER,
  accountOf: (uid: number) => uid,
};

/** The part of a daemon that knows bases, personas and keys, on a folder of its own. */
export interface PersonaMachine {
  folder: string;
  state: string;
  room: PersonasRoom;
  store: Store;
  engine: Engine;
  run(plan: Plan | Promise<Plan>): Promise<Result>;
  close(): Promise<void>;
}

/** Opens it; not yet recovered. */
export async function openPersonaMachine(
  folder: string,
  hooks: Hooks = plain,
  space = { spareBytes: () => Number.MAX_SAFE_INTEGER },
): Promise<PersonaMachine> {
  const state = join(folder, 'state');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const store = await openStore(join(folder, 'test.db'), { open: hooks.openDriver });
  const room = await openPersonasRoom({
    store,
    paths: { state },
    space,
    share: wholeShare,
    now: Date.now,
  });
  const tasks = [...baseTasks(room, { space: async () => {} }), ...personaTasks(room)];
  const engine = quietEngine(store, tasks.map(hooks.wrapTask), hooks.faults);
  return {
    folder,
    state,
    room,
    store,
    engine,
    run: async (plan) => await (await engine.submit(await plan)).done,
    close: () => store.close(),
  };
}

/** A machine of one test, recovered and ready. */
export async function personaMachine(t: ExecutionContext): Promise<PersonaMachine> {
  const machine = await openPersonaMachine(temporaryFolder(t));
  await machine.engine.recover();
  t.teardown(() => machine.close());
  return machine;
}

/** A small root tree at `folder`/`name`. Times are fixed: equal runs give equal digests. */
export function writeBaseTree(folder: string, name = 'tree'): string {
  const tree = join(folder, name);
  for (const path of ['etc', 'usr/bin', 'root', 'tmp', 'home']) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  writeFileSync(join(tree, 'etc/os-release'), 'ID=test\nVERSION_ID="1"\n');
  writeFileSync(join(tree, 'etc/motd'), 'the base\n');
  writeFileSync(join(tree, 'etc/gone'), 'to be removed\n');
  writeFileSync(join(tree, 'usr/bin/tool'), '#!/bin/sh\n', { mode: 0o755 });
  execFileSync('chmod', ['0700', join(tree, 'root')]);
  execFileSync('chmod', ['1777', join(tree, 'tmp')]);
  settleTimes(tree);
  return tree;
}

/** Sets one time on everything below. */
export function settleTimes(tree: string): void {
  for (const path of readdirSync(tree, { recursive: true }).reverse()) {
    const full = join(tree, String(path));
    execFileSync('touch', ['-h', '-d', '@1000000000', full]);
  }
  utimesSync(tree, 1e9, 1e9);
}

/** A copy of a tree, changed by `change`. */
export function changedTree(from: string, to: string, change: (tree: string) => void): string {
  execFileSync('cp', ['-a', from, to]);
  change(to);
  settleTimes(to);
  return to;
}

/** Imports a folder as a base; fails the test otherwise. */
export async function importBase(
  t: ExecutionContext,
  { run, room }: PersonaMachine,
  name: string,
  path: string,
): Promise<string> {
  const result = await run(planBaseImport(room, { name, source: { kind: 'path', path } }, 0));
  t.is(result.status, 'done', JSON.stringify(result.error));
  return (await readBase(room.store, name)).digest;
}

/** A path that root names. */
export const named = (path: string): Given => ({ path, uploaded: false });

let uploads = 0;

/** A received file in the machine's staging folder, as the API leaves it. */
export function uploaded({ state }: PersonaMachine, bytes: Buffer | string): Given {
  uploads += 1;
  const path = join(state, statePlaces.staging, `upload-${process.pid}-${uploads}`);
  if (typeof bytes === 'string') copyFileSync(bytes, path);
  else writeFileSync(path, bytes);
  execFileSync('chmod', ['0400', path]);
  return { path, uploaded: true, bytes: readFileSync(path).length };
}

/** What a create or an import answers. */
export interface Answer {
  persona: PersonaPage;
  existed: boolean;
  rebuilt: boolean;
}

/** Creates a persona; fails the test otherwise. */
export async function createPersona(
  t: ExecutionContext,
  machine: PersonaMachine,
  params: CreateParams,
  uid = 0,
): Promise<Answer> {
  const result = await machine.run(planCreate(machine.room, params, uid));
  t.is(result.status, 'done', JSON.stringify(result.error));
  return await importedPersona(machine.room, result.result, uid);
}

/** Imports a persona file; fails the test otherwise. */
export async function importPersona(
  t: ExecutionContext,
  machine: PersonaMachine,
  bytes: Buffer,
  options: { name?: string; allowPrivileged?: boolean; uid?: number } = {},
): Promise<Answer> {
  const { uid = 0, ...params } = options;
  const source = uploaded(machine, bytes);
  const result = await machine.run(planImport(machine.room, { source, ...params }, uid));
  t.is(result.status, 'done', JSON.stringify(result.error));
  return await importedPersona(machine.room, result.result, uid);
}

/** The bytes of a persona's file. */
export async function exported(
  { room }: PersonaMachine,
  persona: string,
  original = false,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of await exportPersona(room, { persona, original }).open()) {
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces);
}

/** Names of everything in the store, and its rows: what a change that failed must not have touched. */
export async function storeFacts({ state, store }: PersonaMachine): Promise<Json> {
  const places = [
    statePlaces.layers,
    statePlaces.personas,
    statePlaces.staging,
    statePlaces.trustedKeys,
  ];
  const files = Object.fromEntries(
    places.map((place) => [place, readdirSync(join(state, place)).sort()]),
  );
  const personas = await store.all(
    'SELECT name, digest, origin_digest FROM personas ORDER BY name',
  );
  const layers = await store.all('SELECT digest, kind, input FROM layers ORDER BY digest');
  const keys = await store.all('SELECT id, state FROM keys ORDER BY id');
  return { files, personas, layers, keys } as unknown as Json;
}

/** The subject's own view for proofs. */
export function provable(
  machine: PersonaMachine,
  plan: () => Promise<Plan>,
  observe: () => Promise<Json>,
): Machine {
  return { engine: machine.engine, plan, observe, close: machine.close };
}

/** This file, for the child processes of proofs. */
export const place = (url: string, name: string) => ({ module: pathToFileURL(url).href, name });
