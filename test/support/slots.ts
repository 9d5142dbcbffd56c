import { createHash } from 'node:crypto';
import { mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import type { Engine } from '../../daemon/changes/engine.ts';
import type { Faults } from '../../daemon/changes/faults.ts';
import { silentLog } from '../../daemon/changes/log.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { Fd } from '../../daemon/kernel/fd.ts';
import { upperInUse } from '../../daemon/kernel/overlay.ts';
import type { Ways } from '../../daemon/kernel/probe.ts';
import type { Layer } from '../../daemon/personas/layer.ts';
import { openSlots, type Slots } from '../../daemon/personas/open-slots.ts';
import type { Activatable, PersonaSource } from '../../daemon/personas/persona-source.ts';
import { planCreate, planRollback, planSwap } from '../../daemon/personas/slots.ts';
import { openStore } from '../../daemon/store/database.ts';
import type { Store } from '../../daemon/store/store.ts';
import { PersonaError } from '../../ipc/errors.ts';
import { imageOf } from './mount-scratch.ts';
import { quietEngine } from './quiet-engine.ts';

export const BEST: Ways = {
  erofs: 'file-offset',
  lowers: 'fd',
  flip: 'beneath',
  idmap: true,
  uppers: true,
};

/** A layer from an image file, as the store of personas would hand it out. */
export function layerFrom(file: string, kind: Layer['kind']): Layer {
  const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
  return { digest: `sha256:${digest}`, kind, file, offset: 0, size: statSync(file).size };
}

/** Personas a and b on one base, made by the reference tool; `etc/name` says which it is. */
export function twoPersonas(folder: string): Record<string, Activatable> {
  const common = { 'proc/.k': '', 'dev/.k': '', 'tmp/.k': '', 'run/.k': '', 'root/.k': '' };
  const base = layerFrom(
    imageOf(folder, 'base', { ...common, 'etc/name': 'base', 'var/x': '' }),
    'base',
  );
  const personas: Record<string, Activatable> = {};
  for (const name of ['a', 'b']) {
    const diff = layerFrom(imageOf(folder, name, { 'etc/name': name }), 'diff');
    personas[name] = {
      persona: { name, digest: diff.digest },
      base: { digest: base.digest, name: 'base' },
      layers: [diff, base],
      environment: { GREETING: name, LD_PRELOAD: '/evil.so' },
    };
  }
  return personas;
}

/** A persona store of the test's own. */
export function sourceOf(personas: Record<string, Activatable>): PersonaSource {
  return {
    async persona(reference) {
      const found = Object.values(personas).find(
        ({ persona }) => persona?.name === reference || persona?.digest === reference,
      );
      if (found === undefined) throw new PersonaError('persona-not-found', { persona: reference });
      return found;
    },
    async base(digest) {
      const found = Object.values(personas).find((one) => one.base.digest === digest);
      if (found === undefined) throw new PersonaError('base-not-found', { base: digest });
      return { base: found.base, layers: found.layers.slice(-1) };
    },
    open: async (layer) => new Fd(openSync(layer.file, 'r'), layer.file),
  };
}

/** Slots with an engine and a database in a private folder: what a running daemon has. */
export interface Bench {
  slots: Slots;
  engine: Engine;
  store: Store;
  root: string;
  /** Where the slot's tree is. */
  tree(slot: string): string;
  /** Runs a plan to its end; throws when it did not end well. */
  run(plan: Plan | Promise<Plan>): Promise<Result>;
  create(name: string, options?: { owner?: number; ephemeral?: boolean }): Promise<void>;
  swap(
    slot: string,
    persona: string,
    options?: { fresh?: boolean; busy?: 'wait' | 'kill' | 'refuse' },
  ): Promise<Result>;
  rollback(slot: string, options?: { to?: number; base?: boolean }): Promise<Result>;
  stop(): Promise<void>;
}

export interface BenchOptions {
  ways?: Partial<Ways>;
  faults?: Faults;
  able?: (id: string) => boolean;
  accountOf?: (uid: number) => number;
}

const ROOT = { uid: 0, gid: 0 };

/** Starts slots on `root` as the daemon does: rows first, then slots, then changes. */
export async function startBench(
  root: string,
  personas: Record<string, Activatable>,
  options: BenchOptions = {},
): Promise<Bench> {
  const paths = pathsOf(root);
  mkdirSync(paths.run, { recursive: true, mode: 0o755 });
  mkdirSync(paths.state, { recursive: true, mode: 0o700 });
  const store = await openStore(`${paths.state}/personad.db`);
  const slots = await openSlots({
    store,
    source: sourceOf(personas),
    log: silentLog,
    paths,
    volumes: {
      slotsOf(volume) {
        throw new PersonaError('volume-not-found', { volume });
      },
      freeBytes: () => 0,
    },
    ways: { ...BEST, ...options.ways },
    able: options.able ?? (() => true),
    accountOf: options.accountOf ?? ((uid) => uid),
    now: Date.now,
  });
  const engine = quietEngine(store, slots.tasks, options.faults);
  await slots.recover();
  await engine.recover();
  const run = async (plan: Plan | Promise<Plan>): Promise<Result> => {
    const { done } = await engine.submit(await plan);
    const result = await done;
    if (result.status !== 'done') {
      throw Object.assign(new Error(result.error?.message ?? result.status), {
        code: result.error?.code,
      });
    }
    return result;
  };
  return {
    slots,
    engine,
    store,
    root,
    tree: (slot) => `${paths.run}/slots/${slot}/root`,
    run,
    async create(name, { owner = 1234, ephemeral = false } = {}) {
      await run(planCreate(slots.room, { name, ephemeral, owner }, { uid: owner, gid: owner }));
    },
    swap: (slot, persona, more = {}) => run(planSwap(slots.room, { slot, persona, ...more }, ROOT)),
    rollback: (slot, more = {}) => run(planRollback(slots.room, { slot, ...more }, ROOT)),
    async stop() {
      await engine.stop();
      await slots.stop();
      await store.close();
    },
  };
}

/** The writable layer that is mounted though no row names it: that of the tree joined ahead. */
export async function joinedAhead({ slots }: Bench, slot: string): Promise<string | undefined> {
  const { uppers, book, state } = slots.room;
  for (const id of readdirSync(uppers.folder(slot))) {
    if (id.endsWith('.json') || book.knowsUpper(id)) continue;
    // One that is only just being made ready has no folders in it yet.
    if (await upperInUse(uppers.path(slot, id), state).catch(() => false)) return id;
  }
  return undefined;
}

/** Waits until a tree was joined ahead, and returns its writable layer. */
export async function untilJoined(bench: Bench, slot: string): Promise<string> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    const id = await joinedAhead(bench, slot);
    if (id !== undefined) return id;
    await pause(10);
  }
  throw new Error('no tree was joined ahead');
}

/** A bench with two personas in a scratch folder, stopped after the test. */
export async function benchIn(
  t: ExecutionContext,
  folder: string,
  options: BenchOptions = {},
): Promise<Bench> {
  const bench = await startBench(`${folder}/persona`, twoPersonas(folder), options);
  t.teardown(() => bench.stop());
  return bench;
}
