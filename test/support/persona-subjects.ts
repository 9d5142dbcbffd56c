import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plan } from '../../daemon/changes/change.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { planBaseImport } from '../../daemon/personas/base-import.ts';
import { planRevoke, planTrust } from '../../daemon/personas/keys.ts';
import { planCreate, planImport, planRemove } from '../../daemon/personas/personas.ts';
import type { Subject } from '../changes/proofs.ts';
import { builtOsp } from './osp-builder.ts';
import {
  changedTree,
  exported,
  named,
  openPersonaMachine,
  type PersonaMachine,
  uploaded,
  writeBaseTree,
} from './personas.ts';
import { builtTar } from './tar-builder.ts';

/** Any key will do; this one is nobody's. */
const friend = 'PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=';

/** What is there, without digests: a persona created a second later has another one. */
async function observe({ state, store, room }: PersonaMachine): Promise<Json> {
  const kinds = (place: string) =>
    readdirSync(join(state, place))
      // A received file belongs to the API until a change has it, and is cleared at the next start.
      .filter((name) => !name.startsWith('upload-'))
      .map((name) => name.replace(/^sha256-[0-9a-f]{64}/, 'X'))
      .sort();
  const places = ['layers', 'personas', 'staging', 'quarantine', 'keys/trusted'];
  return {
    files: Object.fromEntries(
      places.map((place) => [place, place === 'quarantine' ? [] : kinds(place)]),
    ),
    personas: await store.all('SELECT name, owner FROM personas ORDER BY name'),
    known: room.book.personas().map(({ name }) => name),
    parts: await store.all('SELECT persona, position, kind FROM persona_layers ORDER BY 1, 2'),
    layers: await store.all('SELECT kind FROM layers ORDER BY kind'),
    keys: await store.all('SELECT id, state FROM keys ORDER BY state, id'),
  } as unknown as Json;
}

const templates = new Map<string, string>();

/** A prepared folder, made once in this process and copied for each run. */
async function fromTemplate(
  name: string,
  folder: string,
  make: (machine: PersonaMachine) => Promise<void>,
): Promise<void> {
  let template = templates.get(name);
  if (template === undefined) {
    template = mkdtempSync(join(tmpdir(), 'personad-template-'));
    process.on('exit', () => rmSync(template as string, { recursive: true, force: true }));
    templates.set(name, template);
    const machine = await openPersonaMachine(template);
    await machine.engine.recover();
    await make(machine);
    await machine.close();
  }
  cpSync(template, folder, { recursive: true, preserveTimestamps: true });
}

function subject(
  name: string,
  make: (machine: PersonaMachine) => Promise<void>,
  plan: (machine: PersonaMachine) => Promise<Plan>,
): Subject {
  return {
    prepare: (folder) => fromTemplate(name, folder, make),
    async open(folder, hooks) {
      const machine = await openPersonaMachine(folder, hooks);
      return {
        engine: machine.engine,
        plan: () => plan(machine),
        observe: () => observe(machine),
        close: machine.close,
      };
    },
  };
}

async function must({ run }: PersonaMachine, plan: Plan | Promise<Plan>): Promise<void> {
  const result = await run(plan);
  if (result.status !== 'done') throw new Error(JSON.stringify(result));
}

async function withBase(machine: PersonaMachine): Promise<void> {
  const tree = writeBaseTree(machine.folder);
  const source = { kind: 'path', path: tree } as const;
  await must(machine, planBaseImport(machine.room, { name: 'one', source }, 0));
  changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
}

const seed = gzipSync(builtTar({ name: 'root/note', data: 'seed', mode: 0o600 }));

function planOne(machine: PersonaMachine): Promise<Plan> {
  const tree = named(join(machine.folder, 'wanted'));
  const params = { name: 'work', base: 'one', tree, seed: uploaded(machine, seed) };
  return planCreate(machine.room, { ...params, environment: { EDITOR: 'vi' } }, 0);
}

async function withFile(machine: PersonaMachine): Promise<void> {
  await withBase(machine);
  await must(machine, planOne(machine));
  writeFileSync(join(machine.folder, 'work.osp'), await exported(machine, 'work'));
  const diff = machine.room.book.persona('work').layers.find(({ kind }) => kind === 'diff');
  const { offset = 0, bytes = 0 } = diff ?? {};
  const image = readFileSync(join(machine.state, diff?.file ?? '')).subarray(
    offset,
    offset + bytes,
  );
  const base = machine.room.book.persona('work').base.digest;
  const metadata = (value: Record<string, unknown>) => ({ ...value, base_digest: base });
  writeFileSync(join(machine.folder, 'foreign.osp'), builtOsp({ diff: image, seed, metadata }));
  await must(machine, planRemove(machine.room, 'work', 0));
}

const importOf = (file: string) => async (machine: PersonaMachine) => {
  const source = uploaded(machine, join(machine.folder, file));
  return planImport(machine.room, { source }, 0);
};

/** Trusting a key. */
export const trusting = subject(
  'empty',
  async () => {},
  async ({ room }) => planTrust(room, { publicKey: friend }, 0),
);

/** Revoking a trusted key. */
export const revoking = subject(
  'trusted',
  async (machine) => must(machine, planTrust(machine.room, { publicKey: friend }, 0)),
  async ({ room }) => {
    const known = room.book.keys().find(({ state }) => state !== 'machine');
    return planRevoke(room, { key: known?.id ?? '' }, 0);
  },
);

/** Creating a persona from a folder, with a seed and a variable. */
export const creating = subject('base', withBase, planOne);

/** Importing a file that this machine signed: it is kept as it is. */
export const importing = subject('file', withFile, importOf('work.osp'));

/** Importing a stranger's file: it is rebuilt. */
export const rebuilding = subject('file', withFile, importOf('foreign.osp'));

/** Removing a persona. */
export const removing = subject(
  'persona',
  async (machine) => {
    await withBase(machine);
    await must(machine, planOne(machine));
  },
  ({ room }) => planRemove(room, 'work', 0),
);
