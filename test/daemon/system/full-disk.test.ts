import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import type { Plan, Result } from '../../../daemon/changes/change.ts';
import type { Faults } from '../../../daemon/changes/faults.ts';
import { silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { settingsOf } from '../../../daemon/config/settings.ts';
import { type Daemon, startDaemon } from '../../../daemon/wiring.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

// SECURITY 24, on a real file system that is really full.

const settings = settingsOf([
  { key: 'space.reserve', value: '8MiB', origin: 'test:1' },
  { key: 'space.keep_free', value: '16MiB', origin: 'test:2' },
  { key: 'space.keep_free_percent', value: 0, origin: 'test:3' },
]);

const request: Request = {
  caller: { pid: process.pid, uid: 0, gid: 0, groups: [], socket: 'control' },
  level: 'root',
  dryRun: false,
  input: (input) => ({
    path: input.kind === 'path' ? input.path : '',
    uploaded: false,
    bytes: undefined,
  }),
};

/** A disk of its own with a daemon on it, which has swapped a slot from `a` to `b`. */
async function ground(t: ExecutionContext) {
  const folder = mkdtempSync(join(tmpdir(), 'personad-full-'));
  const root = join(folder, 'disk');
  mkdirSync(root);
  run('truncate', '-s', '160M', join(folder, 'disk.img'));
  run('mkfs.ext4', '-q', '-F', '-m', '0', join(folder, 'disk.img'));
  run('mount', '-o', 'loop', join(folder, 'disk.img'), root);
  t.teardown(async () => {
    await unmountBelow(folder);
    rmSync(folder, { recursive: true, force: true });
  });
  let atPoint = async (_: string): Promise<void> => undefined;
  const faults: Faults = { at: (point) => atPoint(point) };
  const daemon = await startDaemon({
    paths: pathsOf(root),
    settings,
    log: silentLog,
    version: '0',
    hooks: { faults, silent: true },
  });
  t.teardown(() => daemon.stop());
  for (const name of ['base', 'a', 'b']) {
    for (const inside of ['etc', 'proc', 'dev', 'tmp', 'run'])
      mkdirSync(join(folder, name, inside), { recursive: true });
    writeFileSync(join(folder, name, 'etc/name'), name);
  }
  const place = (name: string) => ({ kind: 'path' as const, path: join(folder, name) });
  await done(daemon, (m) => m['base.import']({ name: 'base', source: place('base') }, request));
  for (const name of ['a', 'b'])
    await done(daemon, (m) =>
      m['persona.create']({ name, base: 'base', tree: place(name) }, request),
    );
  await done(daemon, (m) => m['slot.create']({ name: 'work' }, request));
  for (const persona of ['a', 'b'])
    await done(daemon, (m) => m['slot.swap']({ slot: 'work', persona }, request));
  return {
    daemon,
    root,
    place,
    shown: () => readFileSync(join(root, 'run/slots/work/root/etc/name'), 'utf8'),
    onPoint: (work: (point: string) => Promise<void>) => {
      atPoint = work;
    },
  };
}

type Methods = ReturnType<Daemon['rooms']['methods']>;
type Asked = (methods: Methods) => Promise<{ plan: Plan }> | { plan: Plan };

async function ask({ engine, rooms }: Daemon, asked: Asked): Promise<Result> {
  const { plan } = await asked(rooms.methods(engine));
  return await (await engine.submit(plan)).done;
}

async function done(daemon: Daemon, asked: Asked): Promise<void> {
  const result = await ask(daemon, asked);
  if (result.status !== 'done') throw new Error(JSON.stringify(result));
}

/** Writes until not one block is left. */
function fill(root: string): void {
  for (const [name, bytes] of [
    ['large', 1 << 20],
    ['small', 4096],
    ['last', 1],
  ] as const)
    try {
      for (let n = 0; ; n++) writeFileSync(join(root, `fill-${name}-${n}`), Buffer.alloc(bytes, 1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
}

/** Gives back what `fill` took. */
function empty(root: string): void {
  run('find', root, '-xdev', '-maxdepth', '1', '-name', 'fill-*', '-delete');
}

const needs = { root: true, tools: ['mkfs.ext4', 'mount', 'truncate', 'bwrap'] };

when(test, needs)('on a full disk new work is refused; rollback and removal succeed', async (t) => {
  const { daemon, root, place, shown } = await ground(t);
  fill(root);
  for (const asked of [
    (m: Methods) => m['persona.create']({ name: 'c', base: 'base', tree: place('a') }, request),
    (m: Methods) => m['slot.swap']({ slot: 'work', persona: 'a' }, request),
  ]) {
    const error = await t.throwsAsync(ask(daemon, asked));
    t.is((error as unknown as { code: string }).code, 'no-space');
  }
  t.is(shown(), 'b');
  const back = await ask(daemon, (m) => m['slot.rollback']({ slot: 'work' }, request));
  t.is(back.status, 'done', JSON.stringify(back));
  t.is(shown(), 'a');
  for (const asked of [
    (m: Methods) => m['slot.rm']({ slot: 'work', discard: true }, request),
    (m: Methods) => m['persona.rm']({ persona: 'b' }, request),
    (m: Methods) => m['system.gc']({}, request),
  ]) {
    const result = await ask(daemon, asked);
    t.is(result.status, 'done', JSON.stringify(result));
  }
  t.is(daemon.engine.refusing(), undefined, 'the journal was written all the time');
});

const changes: [string, (place: (name: string) => { kind: 'path'; path: string }) => Asked][] = [
  ['a swap', () => (m) => m['slot.swap']({ slot: 'work', persona: 'a', fresh: true }, request)],
  [
    'creating a persona',
    (place) => (m) => m['persona.create']({ name: 'c', base: 'base', tree: place('a') }, request),
  ],
];

for (const [name, asked] of changes)
  when(test, needs)(`${name} while the disk fills up, at each of its points`, async (t) => {
    const { daemon, root, place, shown, onPoint } = await ground(t);
    const points: string[] = [];
    onPoint(async (point) => void points.push(point));
    await done(daemon, asked(place));
    if (name === 'a swap') await done(daemon, (m) => m['slot.rollback']({ slot: 'work' }, request));
    else await done(daemon, (m) => m['persona.rm']({ persona: 'c' }, request));
    for (const [index, point] of points.entries()) {
      let count = 0;
      onPoint(async () => {
        if (count++ === index) fill(root);
      });
      const before = shown();
      const result = await ask(daemon, asked(place));
      t.true(['done', 'failed'].includes(result.status), `${point}: ${JSON.stringify(result)}`);
      t.deepEqual(daemon.engine.open(), [], point);
      t.is(daemon.engine.refusing(), undefined, point);
      onPoint(async () => undefined);
      if (name === 'a swap') t.is(shown(), result.status === 'done' ? 'a' : before, point);
      if (result.status === 'done')
        await done(daemon, (m) =>
          name === 'a swap'
            ? m['slot.rollback']({ slot: 'work' }, request)
            : m['persona.rm']({ persona: 'c' }, request),
        );
      empty(root);
    }
  });
