import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { putServed, readServed } from '../../../daemon/writeback/served-rows.ts';
import { Session, SYNC_EVERY_MS } from '../../../daemon/writeback/session.ts';
import { Sessions } from '../../../daemon/writeback/sessions.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { servedHome, uid } from './served-home.ts';

const HOUR_MS = 3_600_000;

when(test, { root: true })('a clock that is set back keeps nothing from the disk', async (t) => {
  const folder = temporaryFolder(t);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  const clock = { wallMs: Date.now(), elapsedMs: 1_000 };
  const wanted = {
    ...{ name: 'app', owner: 65_533, gid: 65_533, groups: [], app: 'app' },
    ...{ home: join(folder, 'home'), folders: ['cache'] },
  };
  // What runs in it is this test. Nothing is to be written back: a try is seen by its failure.
  const program = { version: 1 as const, folder: join(folder, 'group'), freezable: false };
  mkdirSync(program.folder);
  writeFileSync(join(program.folder, 'cgroup.procs'), `${process.pid}\n`);
  const session = new Session(
    {
      ...{ store, log: silentLog, now: () => clock.wallMs, elapsedMs: () => clock.elapsedMs },
      makePartition: async () => folder,
      growPartition: async () => undefined,
      partitionOf: async () => undefined,
      removePartition: async () => undefined,
    },
    wanted,
    { ...wanted, boot: 'now', sinceMs: clock.wallMs, programs: [program] },
  );
  session.state = 'serving';
  t.teardown(() => session.close());
  clock.wallMs -= HOUR_MS;
  clock.elapsedMs += SYNC_EVERY_MS - 1;
  await session.tick();
  t.is(session.problem, undefined);
  clock.elapsedMs += 1;
  await session.tick();
  t.not(session.problem, undefined);
});

when(test, { root: true })('an application that takes long holds up no other', async (t) => {
  // Which its owner may not enter: what is tried there fails, and is tried again.
  const folder = temporaryFolder(t);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  // The clock of the sessions keeps no process alive.
  const alive = setInterval(() => undefined, HOUR_MS);
  t.teardown(() => clearInterval(alive));
  const slow = Promise.withResolvers<undefined>();
  const often = Promise.withResolvers<void>();
  let failures = 0;
  const warn = () => {
    failures += 1;
    if (failures === 4) often.resolve();
  };
  let elapsedMs = 0;
  const nextHour = () => (elapsedMs += HOUR_MS);
  const sessions = new Sessions({
    ...{ store, log: { ...silentLog, warn }, now: () => Date.now(), elapsedMs: nextHour },
    makePartition: async () => folder,
    growPartition: async () => undefined,
    partitionOf: async ({ name }) => (name === 'slow' ? await slow.promise : undefined),
    removePartition: async () => undefined,
  });
  t.teardown(async () => {
    slow.resolve(undefined);
    await sessions.close();
  });
  for (const name of ['slow', 'quick']) {
    const wanted = { name, owner: 65_533, gid: 65_533, groups: [], app: name };
    const served = { ...wanted, home: join(folder, name), folders: ['cache'], boot: 'now' };
    await store.commit((tx) => putServed(tx, { ...served, sinceMs: 0, programs: [] }));
  }
  await sessions.recover();
  await often.promise;
  t.is(sessions.pages(undefined, 'slow')[0]?.problem, undefined);
});

when(test, { root: true })(
  'memory that cannot be removed is told as that, and not as what cannot be written back',
  async (t) => {
    const { home, partition } = await servedHome(t);
    const store = await openStore(join(temporaryFolder(t), 'test.db'));
    t.teardown(() => store.close());
    const told: string[] = [];
    const warn = (facts: object, what: string) => void told.push(what, JSON.stringify(facts));
    const session = new Session(
      {
        ...{ store, log: { ...silentLog, warn }, now: () => Date.now() },
        makePartition: async () => partition,
        growPartition: async () => undefined,
        partitionOf: async () => partition,
        removePartition: async () => {
          throw new Error('somebody is in it');
        },
      },
      { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home, folders: ['app'] },
    );
    await session.fill();
    await session.close();
    t.like(session, { state: 'gone', problem: undefined });
    t.is(told.length, 2);
    t.regex(told.join(' '), /^cannot remove its memory.*somebody is in it/);
  },
);

when(test, { root: true })(
  'what was never in memory is compared again before the next one',
  async (t) => {
    const folder = temporaryFolder(t);
    const store = await openStore(join(folder, 'test.db'));
    t.teardown(() => store.close());
    const parts = {
      ...{ store, log: silentLog, now: () => Date.now() },
      makePartition: async () => folder,
      growPartition: async () => undefined,
      partitionOf: async () => undefined,
      removePartition: async () => undefined,
    };
    const wanted = {
      ...{ name: 'app', owner: 65_533, gid: 65_533, groups: [], app: 'app' },
      ...{ home: join(folder, 'home'), folders: ['cache'] },
    };
    const group = (name: string) => ({ version: 2 as const, folder: `/${name}`, freezable: true });
    const begin = async (session: Session, name: string) => {
      session.expect();
      await session.serve(group(name));
    };
    const stateOf = (session: Session): string => session.state;
    const fresh = new Session(parts, wanted);
    fresh.state = 'filled';
    await begin(fresh, 'one');
    t.is(stateOf(fresh), 'serving');
    t.is((await readServed(store)).length, 1);
    await fresh.withdraw(group('one'));
    t.is(stateOf(fresh), 'filled');
    t.deepEqual(
      await readServed(store),
      [],
      'no start of the daemon takes it for something to be written',
    );
    // Somebody has worked in memory: what is there counts.
    await begin(fresh, 'two');
    await begin(fresh, 'three');
    await fresh.withdraw(group('three'));
    t.is(stateOf(fresh), 'serving');
    t.is((await readServed(store)).length, 1);
    const served = { ...wanted, boot: 'now', sinceMs: 0, programs: [group('earlier')] };
    const taken = new Session(parts, wanted, served);
    taken.state = 'serving';
    await begin(taken, 'four');
    await taken.withdraw(group('four'));
    t.is(stateOf(taken), 'serving', 'of an earlier daemon');
  },
);

when(test, { root: true })(
  'nothing counts as written back while one of the folders cannot be opened',
  async (t) => {
    const folders = ['app', 'more'];
    const home = await servedHome(t, { folders });
    const folder = temporaryFolder(t);
    const store = await openStore(join(folder, 'test.db'));
    t.teardown(() => store.close());
    const first = await home.writer();
    await first.ask({ do: 'open', memory: home.partition, fill: true }, 'opened', 60_000);
    await first.end();
    for (const [index] of folders.entries())
      writeFileSync(join(home.partition, `${index}/data/file`), 'written');
    const shut = join(home.partition, '1');
    chownSync(shut, 0, 0);
    chmodSync(shut, 0o700);
    const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home: home.home };
    const served = { ...wanted, folders, boot: 'now', sinceMs: 0, programs: [] };
    const session = new Session(
      {
        ...{ store, log: silentLog, now: () => Date.now() },
        makePartition: async () => home.partition,
        growPartition: async () => undefined,
        partitionOf: async () => home.partition,
        removePartition: async () => undefined,
      },
      served,
      served,
    );
    t.teardown(() => session.close());
    await session.resume();
    for (let tries = 0; tries < 2; tries += 1) {
      t.not(session.problem, undefined);
      await t.throwsAsync(session.syncNow(), { message: /EACCES/ });
    }
    chownSync(shut, uid, uid);
    await session.syncNow();
    t.is(session.problem, undefined);
    const next = await home.recoverer();
    await next.ask({ do: 'finish' }, 'finished', 60_000);
    for (const name of folders)
      t.is(readFileSync(join(home.home, name, 'file'), 'latin1'), 'written');
  },
);

when(test, { root: true })(
  'memory that could not be found once is saved before it goes',
  async (t) => {
    const { home, disk, memory, partition, writer } = await servedHome(t);
    const store = await openStore(join(temporaryFolder(t), 'test.db'));
    t.teardown(() => store.close());
    const alive = setInterval(() => undefined, HOUR_MS);
    t.teardown(() => clearInterval(alive));
    const first = await writer();
    await first.ask({ do: 'open', memory: partition, fill: true }, 'opened', 60_000);
    await first.end();
    writeFileSync(join(memory, 'file'), 'in memory only');
    chownSync(join(memory, 'file'), uid, uid);
    const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home };
    const served = { ...wanted, folders: ['app'], boot: 'now', sinceMs: 0, programs: [] };
    await store.commit((tx) => putServed(tx, served));
    const removed = Promise.withResolvers<string[]>();
    const told: unknown[] = [];
    const warn = (facts: { problem?: string }) => void told.push(facts.problem);
    let asked = 0;
    let elapsedMs = 0;
    const sessions = new Sessions({
      ...{ store, log: { ...silentLog, warn }, now: () => Date.now() },
      elapsedMs: () => (elapsedMs += HOUR_MS),
      makePartition: async () => partition,
      growPartition: async () => undefined,
      partitionOf: async () => {
        asked += 1;
        if (asked === 1) throw new Error('too many open files');
        return partition;
      },
      removePartition: async () => removed.resolve(readdirSync(disk)),
    });
    t.teardown(() => sessions.close());
    await sessions.recover();
    t.deepEqual(await removed.promise, ['file']);
    t.is(readFileSync(join(disk, 'file'), 'latin1'), 'in memory only');
    t.deepEqual(told, ['too many open files']);
    t.is(asked, 2);
  },
);

when(test, { root: true })(
  'a launch never gets folders that may not be in memory any more',
  async (t) => {
    const { home, partition } = await servedHome(t, { folders: ['app', 'more'] });
    const store = await openStore(join(temporaryFolder(t), 'test.db'));
    t.teardown(() => store.close());
    const sessions = new Sessions({
      ...{ store, log: silentLog, now: () => Date.now() },
      makePartition: async () => partition,
      growPartition: async () => undefined,
      partitionOf: async () => partition,
      removePartition: async () => {
        for (const name of readdirSync(partition))
          rmSync(join(partition, name), { recursive: true });
      },
    });
    t.teardown(() => sessions.close());
    const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home };
    const enter = async (folders: string[]) =>
      await sessions.enter({ ...wanted, folders }, performance.now() + 60_000);
    const bound = (entered: Awaited<ReturnType<typeof enter>>) => {
      if (!('session' in entered)) return undefined;
      entered.session.decline();
      return entered.session.binds.map(({ to }) => to);
    };
    t.deepEqual(bound(await enter(['app', 'more'])), [`${home}/app`, `${home}/more`]);
    t.regex(JSON.stringify(await enter(['app'])), /^\{"standard":"other folders/);
    for (const end = performance.now() + 60_000; ; await pause(20)) {
      const binds = bound(await enter(['app']));
      if (binds === undefined && performance.now() < end) continue;
      t.deepEqual(binds, [`${home}/app`]);
      break;
    }
  },
);

/** A look at so many processes takes turns with what else is done. */
const PROCESSES_LEAST = 64;
const populous = when(test, {
  root: true,
  other: () =>
    readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length < PROCESSES_LEAST
      ? `needs a machine with ${PROCESSES_LEAST} processes`
      : undefined,
});

populous('an instance that begins while it is looked for is seen', async (t) => {
  const { home, partition } = await servedHome(t);
  const folder = temporaryFolder(t);
  const group = { version: 1 as const, folder: join(folder, 'group'), freezable: false };
  mkdirSync(group.folder);
  writeFileSync(join(group.folder, 'cgroup.procs'), `${process.pid}\n`);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home };
  const served = { ...wanted, folders: ['app'], boot: 'now', sinceMs: 0, programs: [] };
  let moment = 0;
  const session = new Session(
    {
      // What waits for the disk would make the beginning take longer than the look.
      store: Object.create(store, { commit: { value: async () => undefined } }),
      ...{ log: silentLog, now: () => (moment += 1) },
      makePartition: async () => partition,
      growPartition: async () => undefined,
      partitionOf: async () => partition,
      removePartition: async () => undefined,
    },
    served,
    served,
  );
  t.teardown(() => session.close());
  await session.resume();
  t.is(session.problem, undefined);
  const { takenMs } = session;
  const finished = session.finish();
  // The look has begun.
  await new Promise(process.nextTick);
  session.expect();
  await session.serve(group);
  await finished;
  t.is(session.state, 'serving');
  t.is(session.takenMs, takenMs, 'it was not taken for the end');
});
