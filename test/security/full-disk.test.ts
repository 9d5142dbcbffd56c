import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { upload } from '../../ctl/transfer.ts';
import { silentLog } from '../../daemon/changes/log.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { readSettings } from '../../daemon/config/settings.ts';
import { type Daemon, startDaemon } from '../../daemon/wiring.ts';
import { type Client, connect, socketPaths } from '../../ipc/client.ts';
import type { MethodName, Params } from '../../ipc/methods/index.ts';
import { mountImage } from '../support/mount-image.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { run, when } from '../support/needs.ts';
import { done, privateTree } from './live-daemon.ts';
import { changedCopy } from './trees.ts';

// SECURITY 24: the file system of the state tree fills to its last byte at each task of a change. What
// only adds fails with a clear error and leaves nothing; what gives back, or brings a slot back, succeeds.

const needs = { root: true, tools: ['mkfs.ext4', 'mount', 'bwrap', 'setpriv', 'prlimit'] };

/** A state tree on a small file system, a daemon on it, and the way to fill it. */
class Small {
  readonly root: string;
  readonly #filler: string;
  #stopped = true;
  daemon!: Daemon;
  client!: Client;
  /** The point at which the disk fills, once. */
  armed: string | undefined;
  fired = false;

  constructor(t: ExecutionContext) {
    this.root = privateTree(t);
    const image = join(this.root, 'disk');
    run('truncate', '-s', '48M', image);
    run('mkfs.ext4', '-q', '-m', '0', image);
    mkdirSync(join(this.root, 'state'), { mode: 0o700 });
    mountImage(image, join(this.root, 'state'));
    rmSync(join(this.root, 'state/lost+found'), { recursive: true });
    this.#filler = join(this.root, 'state/filler');
  }

  async start(t: ExecutionContext): Promise<void> {
    this.#stopped = false;
    const paths = pathsOf(this.root);
    const faults = {
      at: async (point: string) => {
        if (point !== this.armed) return;
        this.armed = undefined;
        this.fired = true;
        this.fill();
      },
    };
    const settings = readSettings(paths.etc);
    this.daemon = await startDaemon({
      paths,
      settings,
      log: silentLog,
      version: 'test',
      hooks: { faults },
    });
    this.client = await connect(socketPaths(paths.run));
    t.teardown(async () => {
      this.free();
      await this.stop();
    });
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.client.close();
    await this.daemon.stop();
  }

  /** Takes every byte. */
  fill(): void {
    const fd = openSync(this.#filler, 'a');
    for (let size = 1 << 20; size > 0; size = Math.floor(size / 16)) {
      const bytes = Buffer.alloc(size, 7);
      try {
        for (;;) writeSync(fd, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
    closeSync(fd);
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  /** Runs a change that fills the disk at `point`; the code of its error, or `done`. */
  async at<M extends MethodName>(point: string, method: M, params: object): Promise<string> {
    this.armed = point;
    this.fired = false;
    try {
      await done(this.client, method, params as Omit<Params<M>, 'wait'>);
      return 'done';
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      return code === 'no-space' ? code : `${code}: ${message}`;
    } finally {
      this.armed = undefined;
    }
  }
}

function tinyTree(folder: string): string {
  const tree = join(folder, 'tree');
  for (const name of ['etc', 'proc', 'dev', 'tmp', 'run', 'root'])
    mkdirSync(join(tree, name), { recursive: true });
  writeFileSync(join(tree, 'etc/name'), 'base');
  writeFileSync(join(tree, 'etc/big'), Buffer.alloc(300_000, 'x'));
  return tree;
}

/** Names in the places of the store, with the rows behind them: what a failed change must leave as it was. */
async function store({ daemon, root }: Small) {
  const names = (place: string) => readdirSync(join(root, 'state', place)).sort();
  return {
    ...Object.fromEntries(
      ['layers', 'personas', 'staging', 'quarantine'].map((one) => [one, names(one)]),
    ),
    slots: names('slots'),
    rows: await daemon.store.all(
      `SELECT 'base' AS kind, name FROM bases UNION SELECT 'persona', name FROM personas
       UNION SELECT 'layer', digest FROM layers UNION SELECT 'slot', name FROM slots ORDER BY 1, 2`,
    ),
    open: daemon.engine.open().length,
  };
}

async function tasksOf(client: Client, method: MethodName, params: object): Promise<string[]> {
  const answer = await client.call(method, { ...params, dryRun: true } as never);
  return (answer as { plan: { tasks: { kind: string }[] } }).plan.tasks.map(({ kind }) => kind);
}

when(test, needs)('a disk that fills at any task of a change', async (t) => {
  const small = new Small(t);
  const tree = tinyTree(small.root);
  await small.start(t);
  const { client } = small;
  const path = (to: string) => ({ kind: 'path' as const, path: to });
  /** At each task: fails clearly and leaves nothing, or is done and can be removed while the disk is full. */
  const each = async (method: MethodName, params: object, remove: [MethodName, object]) => {
    const before = await store(small);
    for (const kind of await tasksOf(client, method, params)) {
      const code = await small.at(`do:${kind}`, method, params);
      t.true(small.fired, `${kind} ran`);
      t.true(['done', 'no-space'].includes(code), `${method} with a full disk at ${kind}: ${code}`);
      if (code === 'done') await done(client, remove[0], remove[1] as never);
      t.deepEqual(await store(small), before, `${method} with a full disk at ${kind}`);
      small.free();
    }
    await done(client, method, params as never);
  };
  await each('base.import', { name: 'base', source: path(tree) }, ['base.rm', { base: 'base' }]);
  for (const name of ['a', 'b'])
    await done(client, 'persona.create', {
      name,
      base: 'base',
      tree: path(changedCopy(tree, small.root, name)),
    });
  await each('slot.create', { name: 'work' }, ['slot.rm', { slot: 'work' }]);

  // A disk that fills while an upload comes in.
  const { ticket } = await client.call('bulk.open', { direction: 'up' });
  const data = async function* () {
    yield Buffer.alloc(1000);
    small.fill();
    for (let n = 0; n < 50; n += 1) yield Buffer.alloc(65_536);
  };
  await t.throwsAsync(
    upload(client.path, ticket, data(), () => {}),
    { code: 'no-space' },
  );
  t.deepEqual(readdirSync(join(small.root, 'state/staging')), []);
  small.free();

  const name = () => readFileSync(join(small.root, 'run/slots/work/root/etc/name'), 'utf8');
  await done(client, 'slot.swap', { slot: 'work', persona: 'a' });
  writeFileSync(join(small.root, 'run/slots/work/root/etc/mine'), 'kept');
  await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
  for (const kind of await tasksOf(client, 'slot.rollback', { slot: 'work', to: 1 })) {
    t.is(await small.at(`do:${kind}`, 'slot.rollback', { slot: 'work', to: 1 }), 'done', kind);
    t.is(name(), 'a');
    small.free();
    await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
  }
  small.fill();
  await client.call('system.df', {}); // a fresh look at the space
  await t.throwsAsync(client.call('bulk.open', { direction: 'up' }), { code: 'no-space' });
  await t.throwsAsync(done(client, 'slot.swap', { slot: 'work', persona: 'a' }), {
    code: 'no-space',
  });
  for (let round = 0; round < 4; round += 1) {
    await done(client, 'slot.rollback', { slot: 'work', to: 1 });
    t.is(name(), 'a');
    await done(client, 'slot.rollback', { slot: 'work', base: true });
    t.is(name(), 'base');
  }
  await done(client, 'system.gc', {});
  small.free();
  const gone = { slot: 'work', discard: true };
  for (const kind of await tasksOf(client, 'slot.rm', gone)) {
    t.is(await small.at(`do:${kind}`, 'slot.rm', gone), 'done', kind);
    t.deepEqual(readdirSync(join(small.root, 'state/slots')), []);
    small.free();
    await done(client, 'slot.create', { name: 'work' });
    await done(client, 'slot.swap', { slot: 'work', persona: 'a' });
    writeFileSync(join(small.root, 'run/slots/work/root/etc/mine'), 'written');
  }
  await done(client, 'slot.rm', gone);
  small.fill();
  for (const persona of ['a', 'b']) await done(client, 'persona.rm', { persona });
  await done(client, 'base.rm', { base: 'base' });
  t.like(await store(small), {
    layers: [],
    personas: [],
    staging: [],
    slots: [],
    rows: [],
    open: 0,
  });
});

when(test, needs)('a daemon starts on a full disk, with its slots, and rolls back', async (t) => {
  const small = new Small(t);
  const tree = tinyTree(small.root);
  await small.start(t);
  const path = (to: string) => ({ kind: 'path' as const, path: to });
  await done(small.client, 'base.import', { name: 'base', source: path(tree) });
  await done(small.client, 'persona.create', {
    name: 'a',
    base: 'base',
    tree: path(changedCopy(tree, small.root, 'a')),
  });
  await done(small.client, 'slot.create', { name: 'work' });
  await done(small.client, 'slot.swap', { slot: 'work', persona: 'a' });
  await small.stop();
  await unmountBelow(join(small.root, 'run'));
  small.fill();

  await small.start(t);
  const name = () => readFileSync(join(small.root, 'run/slots/work/root/etc/name'), 'utf8');
  t.is(small.daemon.degraded, undefined);
  t.is(name(), 'a');
  await done(small.client, 'slot.rollback', { slot: 'work', base: true });
  t.is(name(), 'base');
  small.fill();
  await t.throwsAsync(done(small.client, 'slot.swap', { slot: 'work', persona: 'a' }), {
    code: 'no-space',
  });
});
