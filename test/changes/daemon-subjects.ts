import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Request } from '../../daemon/api/rooms.ts';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import { silentLog } from '../../daemon/changes/log.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { settingsOf } from '../../daemon/config/settings.ts';
import { type Daemon, type Hooks as DaemonHooks, startDaemon } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import type { Hooks, Machine, Subject } from './proofs.ts';

// The changes of the real daemon: real images, real mounts, real rows, without sockets.

const MiB = 1024 ** 2;

/** Generations keep the paths of their layers, so every machine of a run lives in the one folder. */
const fixedFolder =
  process.env.PERSONAD_PROOF_FOLDER ?? join(tmpdir(), `personad-proofs-${process.pid}`);
process.env.PERSONAD_PROOF_FOLDER = fixedFolder;
const template = `${fixedFolder}.template`;

const settings = settingsOf([
  { key: 'space.reserve', value: 0, origin: 'proofs:1' },
  { key: 'space.keep_free', value: 0, origin: 'proofs:2' },
  { key: 'space.keep_free_percent', value: 0, origin: 'proofs:3' },
  { key: 'slots.keep_generations', value: 0, origin: 'proofs:4' },
]);

/** Root, asking through the control socket. */
const request: Request = {
  caller: { pid: process.pid, uid: 0, gid: 0, groups: [], socket: 'control' },
  level: 'root',
  dryRun: false,
  input: (input) => {
    if (input.kind !== 'path') throw new Error('the proofs name paths');
    return { path: input.path, uploaded: false, bytes: undefined };
  },
  secret() {
    throw new Error('nobody sends secrets here');
  },
  output() {
    throw new Error('nobody fetches anything here');
  },
};

function start(folder: string, hooks: DaemonHooks = {}): Promise<Daemon> {
  const silent = { ...hooks, silent: true };
  return startDaemon({
    paths: pathsOf(folder),
    settings,
    log: silentLog,
    version: '0',
    hooks: silent,
  });
}

type Methods = ReturnType<Daemon['rooms']['methods']>;
type Asked = (methods: Methods) => Promise<{ plan: Plan }> | { plan: Plan };

async function run({ engine, rooms }: Daemon, asked: Asked): Promise<Result> {
  const { plan } = await asked(rooms.methods(engine));
  const result = await (await engine.submit(plan)).done;
  if (result.status !== 'done') throw new Error(JSON.stringify(result));
  return result;
}

/** A small tree; equal runs need equal times. */
function tree(folder: string, name: string): string {
  const path = join(folder, `tree-${name}`);
  for (const inside of ['etc', 'proc', 'dev', 'tmp', 'run'])
    mkdirSync(join(path, inside), { recursive: true });
  writeFileSync(join(path, 'etc/name'), name);
  for (const inside of ['etc/name', 'etc', 'proc', 'dev', 'tmp', 'run', ''])
    utimesSync(join(path, inside), 1e9, 1e9);
  return path;
}

const create =
  (folder: string, name: string): Asked =>
  (methods) =>
    methods['persona.create'](
      { name, base: 'base', tree: { kind: 'path', path: tree(folder, name) } },
      request,
    );

const swap =
  (slot: string, persona: string): Asked =>
  (methods) =>
    methods['slot.swap']({ slot, persona }, request);

/** A daemon with a base, three personas and a slot that has seen two of them; built once per process. */
async function buildTemplate(): Promise<void> {
  if (existsSync(template)) return;
  rmSync(fixedFolder, { recursive: true, force: true });
  mkdirSync(fixedFolder, { recursive: true });
  const daemon = await start(fixedFolder);
  const from = tree(fixedFolder, 'base');
  await run(daemon, (methods) =>
    methods['base.import']({ name: 'base', source: { kind: 'path', path: from } }, request),
  );
  for (const name of ['a', 'b', 'unused']) await run(daemon, create(fixedFolder, name));
  await run(daemon, (methods) => methods['slot.create']({ name: 'work' }, request));
  await run(daemon, swap('work', 'a'));
  await run(daemon, swap('work', 'b'));
  await run(daemon, (methods) => methods['slot.create']({ name: 'idle' }, request));
  await daemon.stop();
  await unmountBelow(fixedFolder);
  cpSync(fixedFolder, template, {
    recursive: true,
    preserveTimestamps: true,
    verbatimSymlinks: true,
  });
}

/** Removes the template and the folder of the machines. */
export async function removeTemplate(): Promise<void> {
  await unmountBelow(fixedFolder);
  for (const folder of [fixedFolder, template]) rmSync(folder, { recursive: true, force: true });
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** What a user sees, and what rows and folders say; ids of uppers and times are left out. */
async function observe({ store, rooms, engine }: Daemon, folder: string): Promise<Json> {
  const { state, run: runFolder } = pathsOf(folder);
  const { slots } = await rooms.methods(engine)['slot.list']({}, request);
  const { volumes } = await rooms.methods(engine)['volume.list']({}, request);
  const rows = (sql: string) => store.all(sql) as unknown as Promise<Json>;
  const named = new Map(
    (await store.all('SELECT name, digest FROM personas')).map(({ name, digest }) => [
      String(digest).replace(':', '-'),
      String(name),
    ]),
  );
  return {
    slots: slots.map(({ name, state: shows, active, problem }) => ({
      name,
      shows,
      problem: problem ?? null,
      persona: active?.persona?.name ?? null,
      seen: list(join(runFolder, 'slots', name, 'root')).includes('etc')
        ? readFileSync(join(runFolder, 'slots', name, 'root/etc/name'), 'utf8')
        : null,
    })),
    generations: await rows(
      'SELECT slot, number, persona, result FROM generations ORDER BY slot, number',
    ),
    volumes: volumes.map(({ name, state: shows, space }) => ({
      name,
      shows,
      size: space?.sizeBytes ?? null,
      missing: space?.missingBytes ?? null,
      // Its file system needs some blocks to find the others.
      ownedMiB: Math.floor((space?.ownedBytes ?? 0) / 2 ** 20),
      seen: list(join(runFolder, 'volumes', name)),
    })),
    volumePlaces: [list(join(runFolder, 'volumes')), list(join(runFolder, 'volumes/.whole'))],
    personas: [...named.values()].sort(),
    bases: await rows('SELECT name, digest FROM bases ORDER BY name'),
    layers: await rows('SELECT digest, kind, bytes FROM layers ORDER BY digest'),
    // The digest of a persona holds the time it was made: it goes by its name here.
    files: ['layers', 'personas', 'staging', 'quarantine', 'slots', 'volumes'].map((place) =>
      list(join(state, place))
        .map((file) => file.replace(/^sha256-\w+/, (text) => named.get(text) ?? text))
        .sort(),
    ),
  };
}

/** `first`: a change that makes the first state from the template. */
function subject(asked: Asked, first?: Asked): Subject {
  return {
    folder: fixedFolder,
    async prepare(folder) {
      await buildTemplate();
      await unmountBelow(folder);
      rmSync(folder, { recursive: true, force: true });
      cpSync(template, folder, {
        recursive: true,
        preserveTimestamps: true,
        verbatimSymlinks: true,
      });
      if (first === undefined) return;
      const daemon = await start(folder);
      await run(daemon, first);
      await daemon.stop();
    },
    async open(folder, hooks: Hooks): Promise<Machine> {
      const daemon = await start(folder, hooks);
      return {
        engine: daemon.engine,
        plan: async () => (await asked(daemon.rooms.methods(daemon.engine))).plan,
        observe: () => observe(daemon, folder),
        close: () => daemon.stop(),
      };
    },
    cleanUp: unmountBelow,
  };
}

/** To a persona the slot had before: its writable layer is taken up again. */
export const swapBack = subject(swap('work', 'a'));
/** To a persona the slot never had. */
export const swapNew = subject(swap('work', 'unused'));
/** Into a slot that shows nothing. */
export const swapFirst = subject(swap('idle', 'a'));
/** To the generation before. */
export const rollback = subject((methods) => methods['slot.rollback']({ slot: 'work' }, request));
/** A new slot. */
export const slotCreate = subject((methods) => methods['slot.create']({ name: 'more' }, request));
/** A slot with history, given up. */
export const slotRemove = subject((methods) =>
  methods['slot.rm']({ slot: 'work', discard: true }, request),
);
/** A persona nothing uses. */
export const personaRemove = subject((methods) =>
  methods['persona.rm']({ persona: 'unused' }, request),
);
/** The past of slots. */
export const collect = subject((methods) => methods['system.gc']({}, request));

const makeVolume: Asked = (methods) =>
  methods['volume.create']({ name: 'user', bytes: 64 * MiB, limitBytes: 128 * MiB }, request);
/** A volume that is not there. */
export const volumeCreate = subject(makeVolume);
/** A volume, given up. */
export const volumeRemove = subject(
  (methods) => methods['volume.rm']({ name: 'user', discard: true }, request),
  makeVolume,
);
/** A volume made larger. */
export const volumeGrow = subject(
  (methods) => methods['volume.resize']({ name: 'user', bytes: 96 * MiB }, request),
  makeVolume,
);
/** A volume that gives space back. */
export const volumeShrink = subject(
  (methods) => methods['volume.resize']({ name: 'user', bytes: 64 * MiB }, request),
  (methods) =>
    methods['volume.create']({ name: 'user', bytes: 96 * MiB, limitBytes: 128 * MiB }, request),
);
