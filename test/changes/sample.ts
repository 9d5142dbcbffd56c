import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Plan } from '../../daemon/changes/change.ts';
import { type Engine, type EngineParts, startEngine } from '../../daemon/changes/engine.ts';
import { journalOver } from '../../daemon/changes/journal.ts';
import { kindsOf } from '../../daemon/changes/kinds.ts';
import { silentLog } from '../../daemon/changes/log.ts';
import { type AnyTask, defineTask, type Json } from '../../daemon/changes/task.ts';
import { type ChangeLimits, limits } from '../../daemon/config/limits.ts';
import { openStore } from '../../daemon/store/database.ts';
import type { Store } from '../../daemon/store/store.ts';
import type { Hooks, Machine, Subject } from './proofs.ts';

type Params = { folder: string; name: string };

/** Overwrites a file, after saving what stood there. */
export const writeTask = defineTask<Params, { before: string | null }>({
  kind: 'sample.write-file',
  summary: ({ name }) => `write ${name}`,
  async do(context, { folder, name }) {
    const file = join(folder, name);
    const before = existsSync(file) ? readFileSync(file, 'utf8') : null;
    if (before !== 'new') await context.save({ before });
    await context.fault('saved');
    writeFileSync(file, 'new');
    await context.fault('written');
    return { record: (tx) => tx.run("INSERT OR REPLACE INTO facts VALUES ('wrote', ?)", name) };
  },
  async undo(_, { folder, name }, saved) {
    const file = join(folder, name);
    if (saved?.before === null) rmSync(file, { force: true });
    else if (saved !== undefined) writeFileSync(file, saved.before);
    return { record: (tx) => tx.run("DELETE FROM facts WHERE name = 'wrote'") };
  },
});

/** Makes a folder with a file in it. */
export const folderTask = defineTask<Params>({
  kind: 'sample.make-folder',
  summary: ({ name }) => `make ${name}`,
  async do(context, { folder, name }) {
    mkdirSync(join(folder, name), { recursive: true });
    await context.fault('empty');
    writeFileSync(join(folder, name, 'inside'), 'x');
  },
  async undo(_, { folder, name }) {
    rmSync(join(folder, name), { recursive: true, force: true });
  },
});

/** Holds something of this process only. */
export const holdTask = defineTask<Params>({
  kind: 'sample.hold',
  summary: ({ name }) => `hold ${name}`,
  ephemeral: true,
  async do({ live }, { name }) {
    live.set('held', name);
  },
  async undo({ live }) {
    live.delete('held');
  },
});

/** The row that decides. */
export const commitTask = defineTask<Params>({
  kind: 'sample.commit',
  summary: ({ name }) => `commit ${name}`,
  pointOfNoReturn: true,
  async do(_, { name }) {
    return {
      record: (tx) => tx.run("INSERT OR REPLACE INTO facts VALUES ('current', ?)", name),
      result: { current: name },
    };
  },
  undo: 'nothing-to-undo',
});

/** Makes the machine follow the row. */
export const flipTask = defineTask<Params>({
  kind: 'sample.flip',
  summary: ({ name }) => `flip to ${name}`,
  forward: true,
  async do(context, { folder, name }) {
    writeFileSync(join(folder, 'current.new'), name);
    await context.fault('half');
    renameSync(join(folder, 'current.new'), join(folder, 'current'));
  },
  undo: 'nothing-to-undo',
});

/** Forgets the old state, and says so in a row. */
export const releaseTask = defineTask<Params>({
  kind: 'sample.release',
  summary: () => 'release the old state',
  forward: true,
  async do(_, { folder }) {
    rmSync(join(folder, 'old'), { recursive: true, force: true });
    return { record: (tx) => tx.run("INSERT OR REPLACE INTO facts VALUES ('released', 'yes')") };
  },
  undo: 'nothing-to-undo',
});

export const sampleTasks: AnyTask[] = [
  writeTask,
  folderTask,
  holdTask,
  commitTask,
  flipTask,
  releaseTask,
];

/** A store and an engine on `folder/test.db`, without anything else of the daemon. */
export async function openParts(
  folder: string,
  tasks: readonly AnyTask[],
  hooks: Hooks,
  some: Partial<ChangeLimits> = {},
  {
    accountOf = (uid) => uid,
    space = () => undefined,
  }: Partial<Pick<EngineParts, 'accountOf' | 'space'>> = {},
): Promise<{ store: Store; engine: Engine }> {
  const store = await openStore(join(folder, 'test.db'), { open: hooks.openDriver });
  const now = () => Date.now();
  const engine = startEngine({
    kinds: kindsOf(tasks.map(hooks.wrapTask)),
    journal: journalOver(store, hooks.faults, now),
    faults: hooks.faults,
    log: silentLog,
    limits: { ...limits, ...some },
    now,
    space,
    accountOf,
  });
  return { store, engine };
}

function snapshot(folder: string): Json {
  const seen: Record<string, Json> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1);
    if (name.startsWith('test.db')) continue;
    seen[name] = entry.isDirectory() ? '/' : readFileSync(path, 'utf8');
  }
  return seen;
}

function sampleSubject(plan: (folder: string) => Plan): Subject {
  return {
    async prepare(folder) {
      writeFileSync(join(folder, 'current'), 'a');
      writeFileSync(join(folder, 'settings'), 'old');
      mkdirSync(join(folder, 'old'));
    },
    async open(folder, hooks): Promise<Machine> {
      const { store, engine } = await openParts(folder, sampleTasks, hooks);
      return {
        engine,
        plan: async () => plan(folder),
        observe: async () => {
          const facts = await store.all('SELECT * FROM facts ORDER BY name');
          return { files: snapshot(folder), facts: facts as unknown as Json };
        },
        close: () => store.close(),
      };
    },
  };
}

const base = { ownerUid: 0, holds: ['sample:one'], kind: 'sample.run' };

/** A change that can be undone to its very end. */
export const undoable = sampleSubject((folder) => ({
  ...base,
  summary: 'write two files and a folder',
  tasks: [
    { kind: 'sample.write-file', params: { folder, name: 'settings' } },
    { kind: 'sample.hold', params: { folder, name: 'x' } },
    { kind: 'sample.make-folder', params: { folder, name: 'made' } },
    { kind: 'sample.write-file', params: { folder, name: 'fresh' } },
  ],
}));

/** A change with a point of no return, the shape of a swap. */
export const committing = sampleSubject((folder) => ({
  ...base,
  summary: 'flip from a to b',
  tasks: [
    { kind: 'sample.hold', params: { folder, name: 'b' } },
    { kind: 'sample.make-folder', params: { folder, name: 'made' } },
    { kind: 'sample.commit', params: { folder, name: 'b' } },
    { kind: 'sample.flip', params: { folder, name: 'b' } },
    { kind: 'sample.release', params: { folder, name: 'b' } },
  ],
}));
