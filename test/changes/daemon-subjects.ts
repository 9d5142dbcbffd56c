import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json } from '../../daemon/changes/task.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Asked, mustDo, rootRequest, smallTree } from '../support/silent-daemon.ts';
import type { Subject } from './machine.ts';
import { silentSubject, startForProof } from './silent-subjects.ts';

// The changes of the real daemon: real images, real mounts, real rows, without sockets.

const MiB = 1024 ** 2;

/** The template is built once; children of a run find it by the environment. */
const fixedFolder =
  process.env.PERSONAD_PROOF_FOLDER ?? join(tmpdir(), `personad-proofs-${process.pid}`);
process.env.PERSONAD_PROOF_FOLDER = fixedFolder;
const template = `${fixedFolder}.template`;
const withVolume = `${fixedFolder}.volume`;

const create =
  (folder: string, name: string): Asked =>
  (methods) =>
    methods['persona.create'](
      { name, base: 'base', tree: { kind: 'path', path: smallTree(folder, name) } },
      rootRequest,
    );

const swap =
  (slot: string, persona: string): Asked =>
  (methods) =>
    methods['slot.swap']({ slot, persona }, rootRequest);

const copy = (from: string, to: string): void =>
  cpSync(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });

/** A daemon with a base, three personas and a slot that has seen two of them; built once per process. */
async function buildTemplate(): Promise<void> {
  if (existsSync(template)) return;
  rmSync(fixedFolder, { recursive: true, force: true });
  mkdirSync(fixedFolder, { recursive: true });
  const daemon = await startForProof(fixedFolder);
  const from = smallTree(fixedFolder, 'base');
  await mustDo(daemon, (methods) =>
    methods['base.import']({ name: 'base', source: { kind: 'path', path: from } }, rootRequest),
  );
  for (const name of ['a', 'b', 'unused']) await mustDo(daemon, create(fixedFolder, name));
  await mustDo(daemon, (methods) => methods['slot.create']({ name: 'work' }, rootRequest));
  await mustDo(daemon, swap('work', 'a'));
  await mustDo(daemon, swap('work', 'b'));
  writeFileSync(join(fixedFolder, 'run/slots/work/root/etc/mine'), 'written');
  await mustDo(daemon, (methods) => methods['slot.create']({ name: 'idle' }, rootRequest));
  await daemon.stop();
  await unmountBelow(fixedFolder);
  renameSync(fixedFolder, template);
}

/** Removes the template and the folder of the machines. */
export async function removeTemplate(): Promise<void> {
  await unmountBelow(fixedFolder);
  for (const folder of [fixedFolder, template, withVolume])
    rmSync(folder, { recursive: true, force: true });
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

const textOf = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : null);

/** What a user sees, and what rows and folders say; ids of uppers and times are left out. */
async function observe({ store, rooms, engine }: Daemon, folder: string): Promise<Json> {
  const { state, run: runFolder } = pathsOf(folder);
  const { slots } = await rooms.methods(engine)['slot.list']({}, rootRequest);
  const { volumes } = await rooms.methods(engine)['volume.list']({}, rootRequest);
  const rows = (sql: string) => store.all(sql) as unknown as Promise<Json>;
  const named = new Map(
    (await store.all('SELECT name, digest FROM personas')).map(({ name, digest }) => [
      String(digest).replace(':', '-'),
      String(name),
    ]),
  );
  return {
    slots: slots.map(({ name, state: shows, active, problem, volume }) => ({
      name,
      volume: volume ?? null,
      shows,
      problem: problem ?? null,
      persona: active?.persona?.name ?? null,
      seen: ['name', 'mine'].map((file) =>
        textOf(join(runFolder, 'slots', name, 'root/etc', file)),
      ),
      left: volume === undefined ? [] : list(join(state, 'slots', name, 'uppers')),
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
      // Without the part that no two of them share.
      slots: list(join(runFolder, 'volumes/.whole', name, 'slots')).map((one) => one.slice(0, -9)),
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

/** `first`: changes that make the first state from the template. */
function subject(asked: Asked, ...first: Asked[]): Subject {
  return silentSubject(asked, observe, {
    async prepare(folder) {
      await buildTemplate();
      await unmountBelow(folder);
      rmSync(folder, { recursive: true, force: true });
      copy(template, folder);
      if (first.length === 0) return;
      const daemon = await startForProof(folder);
      for (const one of first) await mustDo(daemon, one);
      await daemon.stop();
    },
  });
}

/** To a persona the slot had before: its writable layer is taken up again. */
export const swapBack = subject(swap('work', 'a'));
/** To a persona the slot never had. */
export const swapNew = subject(swap('work', 'unused'));
/** Into a slot that shows nothing. */
export const swapFirst = subject(swap('idle', 'a'));
/** To the generation before. */
export const rollback = subject((methods) =>
  methods['slot.rollback']({ slot: 'work' }, rootRequest),
);
/** A new slot. */
export const slotCreate = subject((methods) =>
  methods['slot.create']({ name: 'more' }, rootRequest),
);
/** A slot with history, given up. */
export const slotRemove = subject((methods) =>
  methods['slot.rm']({ slot: 'work', discard: true }, rootRequest),
);
/** A persona nothing uses. */
export const personaRemove = subject((methods) =>
  methods['persona.rm']({ persona: 'unused' }, rootRequest),
);
/** The past of slots. */
export const collect = subject((methods) => methods['system.gc']({}, rootRequest));

const makeVolume: Asked = (methods) =>
  methods['volume.create']({ name: 'user', bytes: 64 * MiB, limitBytes: 128 * MiB }, rootRequest);
const slotInVolume: Asked = (methods) =>
  methods['slot.create']({ name: 'more', volume: 'user' }, rootRequest);
/** A new slot whose writable layers lie in a volume. */
export const slotCreateInVolume = subject(slotInVolume, makeVolume);
/** What is written in a slot, moved into a volume. A first state with a volume takes a second to make: it is made once. */
export const slotMove = silentSubject(
  (methods) => methods['slot.move']({ slot: 'work', to: 'user' }, rootRequest),
  observe,
  {
    async prepare(folder) {
      if (!existsSync(withVolume)) {
        await buildTemplate();
        copy(template, fixedFolder);
        const daemon = await startForProof(fixedFolder);
        await mustDo(daemon, (methods) =>
          methods['volume.create'](
            { name: 'user', bytes: 64 * MiB, limitBytes: 64 * MiB },
            rootRequest,
          ),
        );
        await daemon.stop();
        await unmountBelow(fixedFolder);
        renameSync(fixedFolder, withVolume);
      }
      await unmountBelow(folder);
      rmSync(folder, { recursive: true, force: true });
      copy(withVolume, folder);
    },
  },
);
/** A volume that is not there. */
export const volumeCreate = subject(makeVolume);
/** A volume, given up. */
export const volumeRemove = subject(
  (methods) => methods['volume.rm']({ name: 'user', discard: true }, rootRequest),
  makeVolume,
);
/** A volume made larger. */
export const volumeGrow = subject(
  (methods) => methods['volume.resize']({ name: 'user', bytes: 96 * MiB }, rootRequest),
  makeVolume,
);
/** Space that the daemon moves from one volume to the other. */
export const volumeMove = subject(
  (_methods, { rooms }) => ({
    plan: rooms.governor.plan({ from: 'system', to: 'user', bytes: 16 * MiB }, 'a proof'),
  }),
  async (methods, daemon) => {
    await mustDo(daemon, makeVolume);
    return methods['volume.create'](
      { name: 'system', bytes: 96 * MiB, limitBytes: 128 * MiB },
      rootRequest,
    );
  },
);
/** A volume that gives space back. */
export const volumeShrink = subject(
  (methods) => methods['volume.resize']({ name: 'user', bytes: 64 * MiB }, rootRequest),
  (methods) =>
    methods['volume.create']({ name: 'user', bytes: 96 * MiB, limitBytes: 128 * MiB }, rootRequest),
);
