import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { ChangeEvent, Plan } from '../../../daemon/changes/change.ts';
import type { EngineParts } from '../../../daemon/changes/engine.ts';
import { type Faults, noFaults } from '../../../daemon/changes/faults.ts';
import type { ChangeStatus } from '../../../daemon/changes/status.ts';
import { type AnyTask, defineTask, type Json } from '../../../daemon/changes/task.ts';
import type { ChangeLimits } from '../../../daemon/config/limits.ts';
import { openDriver } from '../../../daemon/store/database.ts';
import type { Store } from '../../../daemon/store/store.ts';
import { openParts } from '../../changes/sample.ts';

/** A task that waits until the test opens its gate, or until it is told to stop. */
class Gates {
  readonly waiting = new Map<string, PromiseWithResolvers<void>>();
  readonly entered: string[] = [];
  get(name: string): PromiseWithResolvers<void> {
    const gate = this.waiting.get(name) ?? Promise.withResolvers<void>();
    this.waiting.set(name, gate);
    return gate;
  }
}

const diskFull = () => Object.assign(new Error('SQLITE_FULL: full'), { code: 'SQLITE_FULL' });

interface Setup {
  accountOf?: EngineParts['accountOf'];
  limits?: Partial<ChangeLimits>;
  faults?: Faults;
  more?: AnyTask[];
  /** Takes what the database is told. */
  said?: string[];
  /** What the database has no room for. */
  isFull?: (sql: string) => boolean;
  space?: () => Promise<void>;
}

async function setUp(
  t: ExecutionContext,
  { limits = {}, faults = noFaults, more = [], said = [], isFull, ...parts }: Setup = {},
  folder = mkdtempSync(join(tmpdir(), 'personad-engine-')),
) {
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const gates = new Gates();
  const undone: string[] = [];
  const gate = defineTask<string>({
    kind: 'test.gate',
    summary: (name) => `wait at ${name}`,
    async do({ signal }, name) {
      gates.entered.push(name);
      const stopped = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true });
      await Promise.race([gates.get(name).promise, stopped.promise]);
      return { result: { passed: name } };
    },
    undo: async (_, name) => void undone.push(name),
  });
  const tasks = [gate, ...more];
  const listened = async (file: string) => {
    const driver = await openDriver(file);
    const exec = (sql: string) => {
      said.push(sql);
      if (isFull?.(sql)) return Promise.reject(diskFull());
      return driver.exec(sql);
    };
    return { ...driver, exec };
  };
  const { store, engine } = await openParts(
    folder,
    tasks,
    { faults, openDriver: listened, wrapTask: (task) => task },
    limits,
    parts,
  );
  t.teardown(() => store.close());
  await engine.recover();
  return { engine, gates, undone, store, folder };
}

const plan = (name: string, holds: string[], more: Partial<Plan> = {}): Plan => ({
  kind: 'test.run',
  summary: `run ${name}`,
  ownerUid: 0,
  holds,
  tasks: [{ kind: 'test.gate', params: name }],
  ...more,
});

const code = (error: unknown): string => (error as { code: string }).code;

test('a change runs, answers its result and stays in the history', async (t) => {
  const { engine, gates } = await setUp(t);
  const { changeId, done } = await engine.submit(plan('a', ['x']));
  t.is((await engine.show(changeId)).status, 'doing');
  gates.get('a').resolve();
  t.deepEqual(await done, { changeId, status: 'done', result: { passed: 'a' } });
  t.deepEqual(engine.open(), []);
  const [kept] = await engine.list(10);
  t.is(kept?.status, 'done');
  t.is(kept?.tasks[0]?.status, 'done');
});

const step = (kind: string, more: Partial<AnyTask>): AnyTask =>
  ({
    kind,
    summary: () => kind,
    do: async () => undefined,
    undo: 'nothing-to-undo',
    ...more,
  }) as AnyTask;

/** The tasks of a change that leaves nothing behind before it commits; the first waits at the gate `name`. */
function swapShaped(gates: () => Gates, rowsOnly = true): { more: AnyTask[]; planned: Plan } {
  const more = [
    step('test.prepare', {
      ephemeral: true,
      async do() {
        gates().entered.push('prepare');
        await gates().get('prepare').promise;
      },
    }),
    step('test.commit', { pointOfNoReturn: true, ...(rowsOnly ? { rowsOnly } : {}) }),
    step('test.flip', { forward: true }),
    step('test.release', { forward: true }),
  ];
  return {
    more,
    planned: plan('swap', ['x'], { tasks: more.map(({ kind }) => ({ kind, params: null })) }),
  };
}

const countOf = async (store: Store): Promise<unknown> =>
  (await store.get('SELECT count(*) AS n FROM changes'))?.n;

test('an answer that is too large keeps nothing held: the change is done without it', async (t) => {
  const large = async () => ({ result: 'x'.repeat(200) });
  const more = [
    step('test.commit', { pointOfNoReturn: true, do: async () => ({ result: { of: 'commit' } }) }),
    step('test.tell', { forward: true, do: large }),
    step('test.early', { do: large }),
  ];
  const { engine, store } = await setUp(t, { more, limits: { journalValueBytesMax: 100 } });
  const planned = (...kinds: string[]) =>
    plan('told', ['x'], { tasks: kinds.map((kind) => ({ kind, params: null })) });
  const { changeId, done } = await engine.submit(planned('test.commit', 'test.tell'));
  t.deepEqual(await done, { changeId, status: 'done', result: { of: 'commit' } });
  t.deepEqual(engine.open(), []);
  const early = await (await engine.submit(planned('test.early'))).done;
  t.like(early, { status: 'failed', error: { code: 'limit-exceeded' } });
  const kept = await store.get('SELECT max(length(result)) AS n FROM changes');
  t.true(Number(kept?.n) < 100);
});

test('a slow start of what leaves nothing behind is in the journal meanwhile, and then once', async (t) => {
  const given = { gates: new Gates() };
  const { more, planned } = swapShaped(() => given.gates);
  const { engine, gates, store } = await setUp(t, { more });
  given.gates = gates;
  const { changeId, written, done } = await engine.submit(planned);
  await written;
  t.is(await countOf(store), 1);
  t.is((await engine.show(changeId)).status, 'doing');
  gates.get('prepare').resolve();
  t.is((await done).status, 'done');
  t.is(await countOf(store), 1);
  const lines = await store.all('SELECT event FROM events ORDER BY seq');
  t.is(lines.filter(({ event }) => event === 'create').length, 1);
});

test('an intent that could not be written is written with what comes next', async (t) => {
  const given = { gates: new Gates() };
  const { more, planned } = swapShaped(() => given.gates);
  let failing = true;
  const faults: Faults = {
    at: async (point) => {
      if (failing && point.startsWith('journal:before:create')) throw new Error('no disk');
    },
  };
  const { engine, gates, store } = await setUp(t, { more, faults });
  given.gates = gates;
  const { written, done } = await engine.submit(planned);
  await t.throwsAsync(written, { message: 'no disk' }, 'its number is told to nobody');
  t.is(await countOf(store), 0);
  failing = false;
  gates.get('prepare').resolve();
  t.is((await done).status, 'done');
  t.is(await countOf(store), 1);
});

test('what could not be written at all has not happened', async (t) => {
  const given = { gates: new Gates() };
  const { more, planned } = swapShaped(() => given.gates);
  const faults: Faults = {
    at: async (point) => {
      if (point.startsWith('journal:before:create')) throw new Error('no disk');
    },
  };
  const { engine, gates, store } = await setUp(t, { more, faults });
  given.gates = gates;
  gates.get('prepare').resolve();
  const { done } = await engine.submit(planned);
  t.regex((await done).error?.message ?? '', /no disk/);
  t.regex(engine.refusing() ?? '', /journal cannot be written/);
  t.is(await countOf(store), 0);
});

test('holders of one thing run one after the other, in order; others pass', async (t) => {
  const { engine, gates } = await setUp(t);
  const first = await engine.submit(plan('first', ['x']));
  const second = await engine.submit(plan('second', ['x', 'y']));
  const third = await engine.submit(plan('third', ['y']));
  const other = await engine.submit(plan('other', ['z']));
  t.is((await engine.show(second.changeId)).status, 'queued');
  t.is((await engine.show(third.changeId)).status, 'queued', 'does not overtake the second');
  gates.get('other').resolve();
  await other.done;
  gates.get('first').resolve();
  await first.done;
  gates.get('second').resolve();
  await second.done;
  gates.get('third').resolve();
  await third.done;
  t.deepEqual(gates.entered, ['first', 'other', 'second', 'third']);
});

test('a change that would have to wait may be refused instead', async (t) => {
  const { engine, gates } = await setUp(t);
  const { changeId, done } = await engine.submit(plan('a', ['x']));
  const error = await t.throwsAsync(engine.submit(plan('b', ['x'], { conflict: 'refuse' })));
  t.is(code(error), 'change-conflict');
  t.regex(error!.message, new RegExp(`change ${changeId} holds x`));
  gates.get('a').resolve();
  await done;
});

test('abort undoes a running change and takes a queued one out', async (t) => {
  const { engine, undone } = await setUp(t);
  const running = await engine.submit(plan('a', ['x']));
  const queued = await engine.submit(plan('b', ['x']));
  t.is((await engine.abort(queued.changeId)).status, 'aborted');
  const result = await engine.abort(running.changeId);
  t.is(result.status, 'aborted');
  t.is(result.error?.code, 'change-aborted');
  t.deepEqual(undone, ['a'], 'the queued one had nothing to undo');
  t.is(code(await t.throwsAsync(engine.abort(running.changeId))), 'change-not-abortable');
  t.is(code(await t.throwsAsync(engine.abort(999))), 'change-not-found');
  t.is(code(await t.throwsAsync(engine.continue(running.changeId))), 'change-not-stuck');
});

test('followers hear the state, each task, progress and the end; a broken one disturbs nobody', async (t) => {
  const progress = defineTask<string>({
    kind: 'test.progress',
    summary: () => 'count to three',
    async do(context) {
      for (let done = 1; done <= 3; done++) context.progress({ done, total: 3, unit: 'steps' });
    },
    undo: 'nothing-to-undo',
  });
  const { engine, gates } = await setUp(t, { more: [progress], limits: { progressEveryMs: 0 } });
  const tasks = [
    { kind: 'test.gate', params: 'a' },
    { kind: 'test.progress', params: '' },
  ];
  const { changeId, done } = await engine.submit(plan('a', ['x'], { tasks }));
  const heard: ChangeEvent[] = [];
  await engine.follow(changeId, (event) => heard.push(event));
  const broken = t.throwsAsync(
    engine.follow(changeId, () => {
      throw new Error('gone');
    }),
  );
  await broken;
  gates.get('a').resolve();
  await done;
  t.is(heard[0]?.status, 'doing');
  t.is(heard[0]?.task?.summary, 'wait at a');
  t.deepEqual(
    heard.flatMap((event) => (event.progress ? [event.progress.done] : [])),
    [1, 2, 3],
  );
  t.is(heard.at(-1)?.status, 'done');
  const late: ChangeEvent[] = [];
  await engine.follow(changeId, (event) => late.push(event));
  t.is(late[0]?.status, 'done');
});

test('progress is thinned out, but its end is always heard', async (t) => {
  const noisy = defineTask<string>({
    kind: 'test.noisy',
    summary: () => 'count',
    async do(context) {
      for (let done = 1; done <= 1000; done++) context.progress({ done, total: 1000 });
    },
    undo: 'nothing-to-undo',
  });
  const { engine, gates } = await setUp(t, { more: [noisy], limits: { progressEveryMs: 60_000 } });
  const tasks = [
    { kind: 'test.gate', params: 'a' },
    { kind: 'test.noisy', params: '' },
  ];
  const { changeId, done } = await engine.submit(plan('a', ['x'], { tasks }));
  const heard: ChangeEvent[] = [];
  await engine.follow(changeId, (event) => heard.push(event));
  gates.get('a').resolve();
  await done;
  const counts = heard.flatMap((event) => (event.progress ? [event.progress.done] : []));
  t.deepEqual(counts, [1, 1000]);
});

test('each owner has a bounded number of changes, and root always finds a place', async (t) => {
  const some = { changesPerOwnerMax: 2, changesMax: 6, changesForRootMin: 2, runningMax: 3 };
  const { engine, gates } = await setUp(t, { limits: { ...some, runningForRootMin: 1 } });
  const started = [];
  for (const ownerUid of [1000, 1000, 1001, 1001])
    started.push(
      await engine.submit(plan(`u${started.length}`, [`x${started.length}`], { ownerUid })),
    );
  const mine = await t.throwsAsync(engine.submit(plan('more', ['m'], { ownerUid: 1000 })));
  t.is(code(mine), 'too-many-requests');
  const others = await t.throwsAsync(engine.submit(plan('more', ['m'], { ownerUid: 1002 })));
  t.is(code(others), 'too-many-requests');
  t.is(gates.entered.length, 2, 'one running place is kept for root');
  const root = await engine.submit(plan('root', ['r']));
  t.is((await engine.show(root.changeId)).status, 'doing');
  for (const name of ['root', 'u0', 'u1', 'u2', 'u3']) gates.get(name).resolve();
  for (const one of [...started, root]) t.is((await one.done).status, 'done');
});

test('one user, with subordinate ids, takes half of the places, and what waits for one holds up nobody', async (t) => {
  const accountOf = (uid: number) => (uid >= 100_000 ? 1000 : uid);
  const { engine, gates } = await setUp(t, { accountOf });
  const mine: { changeId: number; done: Promise<{ status: ChangeStatus }> }[] = [];
  for (const [n, ownerUid] of [1000, 100_001, 100_002, 1000, 100_003, 1000].entries())
    mine.push(await engine.submit(plan(`mine${n}`, [`x${n}`], { ownerUid })));
  const statuses = async () =>
    await Promise.all(mine.map(async ({ changeId }) => (await engine.show(changeId)).status));
  const half: ChangeStatus[] = ['doing', 'doing', 'doing', 'queued', 'queued', 'queued'];
  t.deepEqual(await statuses(), half);
  const theirs = [];
  for (const n of [0, 1, 2]) {
    const more = { ownerUid: 1001, conflict: 'refuse' as const };
    theirs.push(await engine.submit(plan(`theirs${n}`, [`x${n + 3}`], more)));
  }
  for (const { changeId } of theirs) t.is((await engine.show(changeId)).status, 'doing');
  for (const n of [0, 1, 2]) gates.get(`theirs${n}`).resolve();
  for (const { done } of theirs) t.is((await done).status, 'done');
  t.deepEqual(await statuses(), half, 'also while places are free');
  for (const n of mine.keys()) gates.get(`mine${n}`).resolve();
  for (const { done } of mine) t.is((await done).status, 'done');
});

test('a task past its deadline is undone; one that does not end leaves the change stuck', async (t) => {
  const release = Promise.withResolvers<void>();
  const slow = defineTask<string>({
    kind: 'test.deaf',
    summary: () => 'ignore the signal',
    timeoutMs: 1,
    do: () => release.promise,
    undo: async () => undefined,
  });
  const polite = defineTask<string>({
    kind: 'test.polite',
    summary: () => 'heed the signal',
    timeoutMs: 1,
    do: ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    undo: async () => undefined,
  });
  const keepAwake = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(keepAwake));
  const { engine } = await setUp(t, { more: [slow, polite], limits: { taskGraceMs: 1 } });
  const one = await engine.submit(
    plan('a', ['x'], { tasks: [{ kind: 'test.polite', params: '' }] }),
  );
  const late = await one.done;
  t.is(late.status, 'failed');
  t.is(late.error?.code, 'timed-out');
  const two = await engine.submit(plan('b', ['x'], { tasks: [{ kind: 'test.deaf', params: '' }] }));
  t.is((await two.done).status, 'stuck-undoing');
  t.is(code(await t.throwsAsync(engine.continue(two.changeId))), 'change-stuck', 'it still runs');
  t.is(code(await t.throwsAsync(engine.submit(plan('c', ['x'])))), 'change-conflict');
  release.resolve();
  t.is((await engine.continue(two.changeId)).status, 'failed');
});

test('a journal that cannot be written fails the change, changes nothing, takes no more', async (t) => {
  let armed = false;
  const faults: Faults = {
    at: async (point) => {
      if (armed && point.startsWith('journal:before'))
        throw Object.assign(new Error('EIO'), { code: 'SQLITE_IOERR' });
    },
  };
  const { engine, gates, undone } = await setUp(t, { faults });
  const { done } = await engine.submit(plan('a', ['x']));
  armed = true;
  gates.get('a').resolve();
  const result = await done;
  t.is(result.status, 'doing', 'it rests where it was; the next start recovers it');
  t.deepEqual(undone, []);
  t.is(code(await t.throwsAsync(engine.submit(plan('b', ['y'])))), 'daemon-degraded');
});

test('whoever waits for a queued change hears of it when its start cannot be journalled', async (t) => {
  let isFull = false;
  const { engine, gates, undone } = await setUp(t, {
    isFull: (sql) => isFull && sql.includes("'start'"),
  });
  const running = await engine.submit(plan('running', ['x']));
  const other = await engine.submit(plan('other', ['y']));
  const queued = [];
  for (const name of ['next', 'last']) queued.push(await engine.submit(plan(name, ['x'])));
  isFull = true;
  gates.get('running').resolve();
  t.is((await running.done).status, 'done');
  for (const { changeId, done } of queued) {
    t.like(await done, { status: 'queued', error: { code: 'daemon-degraded' } });
    t.is((await engine.show(changeId)).status, 'queued', 'as the journal has it');
  }
  gates.get('other').resolve();
  t.is((await other.done).status, 'done', 'what runs goes on');
  for (const { changeId } of queued) t.is((await engine.abort(changeId)).status, 'aborted');
  t.deepEqual(gates.entered, ['running', 'other']);
  t.deepEqual(undone, []);
  t.deepEqual(engine.open(), []);
});

test('a change that is queued while the journal fails is answered, too', async (t) => {
  const written = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const faults: Faults = {
    async at(point) {
      if (point === 'journal:before:finish1+commit') throw diskFull();
      if (point !== 'journal:after:create') return;
      written.resolve();
      await held.promise;
    },
  };
  const given = { gates: new Gates() };
  const { more, planned } = swapShaped(() => given.gates, false);
  const { engine, gates } = await setUp(t, { more, faults });
  given.gates = gates;
  const first = await engine.submit(planned);
  const second = engine.submit(plan('second', ['x']));
  await written.promise;
  gates.get('prepare').resolve();
  t.is((await first.done).status, 'doing');
  held.resolve();
  t.like(await (await second).done, { status: 'queued', error: { code: 'daemon-degraded' } });
});

/** What could not be undone any more, and what removes what it left. */
function removal(removed: () => void): { more: AnyTask[]; planned: Plan } {
  const more = [
    step('test.forget', { pointOfNoReturn: true }),
    step('test.remove', { forward: true, do: async () => removed() }),
  ];
  return {
    more,
    planned: plan('rm', ['x'], { tasks: more.map(({ kind }) => ({ kind, params: null })) }),
  };
}

const openIn = async (store: Store): Promise<unknown> =>
  (await store.get('SELECT count(*) AS n FROM changes WHERE ended IS NULL'))?.n;

test('the end of a change that the disk had no room for is written once more', async (t) => {
  t.timeout(60_000);
  let refusals = 0;
  // Both lines together, and each by itself.
  const { more, planned } = removal(() => {
    refusals = 3;
  });
  const isFull = (sql: string) => sql.includes("'finish'") && refusals-- > 0;
  const { engine, store } = await setUp(t, { more, isFull });
  t.is((await (await engine.submit(planned)).done).status, 'done');
  while ((await openIn(store)) !== 0) t.is(engine.refusing(), undefined);
  t.true(refusals < 0);
  const lines = await store.all('SELECT task, event FROM events ORDER BY seq');
  t.deepEqual(
    lines.slice(-2).map(({ task, event }) => [task, event]),
    [
      [1, 'finish'],
      [null, 'finish'],
    ],
  );
});

test('what the journal never takes of an end stops all changes until the start that repeats it', async (t) => {
  t.timeout(60_000);
  let isFull = false;
  let removals = 0;
  const { more, planned } = removal(() => {
    removals += 1;
    isFull = removals === 1;
  });
  const first = await setUp(t, { more, isFull: (sql) => isFull && sql.includes("'finish'") });
  const { done } = await first.engine.submit(planned);
  t.is((await done).status, 'done');
  while (first.engine.refusing() === undefined) await openIn(first.store);
  t.regex(first.engine.refusing() ?? '', /journal cannot be written/);
  t.is(code(await t.throwsAsync(first.engine.submit(plan('b', ['x'])))), 'daemon-degraded');
  t.is(await openIn(first.store), 1);
  await first.store.close();
  const second = await setUp(t, { more }, first.folder);
  t.is(removals, 2);
  while ((await openIn(second.store)) !== 0);
  t.is(second.engine.refusing(), undefined);
});

test('a stop waits for what was only being journalled when it came', async (t) => {
  const journalling = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const faults: Faults = {
    async at(point) {
      if (!point.startsWith('journal:before:create')) return;
      journalling.resolve();
      await held.promise;
    },
  };
  let ended = false;
  const slow = step('test.slow', {
    async do() {
      for (let turns = 0; turns < 20; turns++) await turn();
      ended = true;
    },
  });
  const { engine } = await setUp(t, { more: [slow], faults });
  const submitted = engine.submit(
    plan('a', ['x'], { tasks: [{ kind: 'test.slow', params: null }] }),
  );
  await journalling.promise;
  const stopped = engine.stop();
  held.resolve();
  await stopped;
  t.true(ended);
  t.is((await (await submitted).done).status, 'done');
});

test('what is only taken when the daemon stops is refused', async (t) => {
  const given: { refuse?: () => void } = {};
  const { engine, store } = await setUp(t, { space: async () => given.refuse?.() });
  given.refuse = () => engine.refuse('it is stopping');
  t.is(code(await t.throwsAsync(engine.submit(plan('a', ['x'])))), 'daemon-degraded');
  t.is(await countOf(store), 0);
});

test('a command that the journal does not take leaves the change as it was', async (t) => {
  const refused = new Set<string>();
  const faults: Faults = {
    at: async (point) => {
      if (refused.has(point)) throw new Error('no disk');
    },
  };
  let undoing = 0;
  const stubborn = defineTask<string>({
    kind: 'test.stubborn',
    summary: () => 'fail, and fail to undo once',
    do: () => Promise.reject(new Error('never')),
    async undo() {
      undoing += 1;
      if (undoing === 1) throw new Error('not yet');
    },
  });
  const { engine, gates } = await setUp(t, { faults, more: [stubborn] });
  const tasks = [{ kind: 'test.stubborn', params: '' }];
  const stuck = await engine.submit(plan('stuck', ['s'], { tasks }));
  t.is((await stuck.done).status, 'stuck-undoing');
  const running = await engine.submit(plan('running', ['x']));
  const queued = await engine.submit(plan('queued', ['x']));
  for (const step of ['continue', 'abort']) refused.add(`journal:before:${step}`);
  const statusOf = async ({ changeId }: { changeId: number }) =>
    (await engine.show(changeId)).status;
  await t.throwsAsync(engine.continue(stuck.changeId), { message: 'no disk' });
  t.is(await statusOf(stuck), 'stuck-undoing');
  t.regex(engine.refusing() ?? '', /journal cannot be written/);
  await t.throwsAsync(engine.abort(queued.changeId), { message: 'no disk' });
  const { status, error, endedMs } = await engine.show(queued.changeId);
  t.deepEqual([status, error, endedMs], ['queued', undefined, undefined]);
  refused.clear();
  gates.get('running').resolve();
  t.is((await running.done).status, 'done');
  t.is((await engine.abort(queued.changeId)).status, 'aborted');
  t.is((await engine.continue(stuck.changeId)).status, 'failed');
  t.deepEqual(gates.entered, ['running']);
  t.deepEqual(engine.open(), []);
});

test('rows that break a rule of the schema fail the change and are undone', async (t) => {
  const bad = defineTask<string>({
    kind: 'test.bad-rows',
    summary: () => 'insert nonsense',
    do: async () => ({ record: (tx) => tx.run('INSERT INTO facts VALUES (NULL, NULL)') }),
    undo: async () => undefined,
  });
  const { engine } = await setUp(t, { more: [bad] });
  const { done } = await engine.submit(
    plan('a', ['x'], { tasks: [{ kind: 'test.bad-rows', params: '' }] }),
  );
  t.is((await done).status, 'failed');
  t.is(engine.refusing(), undefined);
});

test('a swap-shaped change costs one commit when nothing lasts before it', async (t) => {
  for (const rowsOnly of [true, false]) {
    const commits: string[] = [];
    const faults: Faults = {
      at: async (point) => void (point.startsWith('journal:after') && commits.push(point)),
    };
    const gates = new Gates();
    gates.get('prepare').resolve();
    const { more, planned } = swapShaped(() => gates, rowsOnly);
    const said: string[] = [];
    const { engine } = await setUp(t, { faults, more, said });
    t.is((await (await engine.submit(planned)).done).status, 'done');
    const intent = 'create+start+start0+start1';
    const commit = 'finish1+commit';
    t.deepEqual(
      commits,
      (rowsOnly ? [`${intent}+${commit}`] : [intent, commit]).map((one) => `journal:after:${one}`),
    );
    const levels = said
      .filter((sql) => /'create'|'commit'/.test(sql))
      .map((sql) => /^PRAGMA synchronous = (\w+)/.exec(sql)?.[1]);
    t.deepEqual(levels, rowsOnly ? ['FULL'] : ['FULL', 'FULL']);
  }
});

test('plans that break the rules of the engine are refused before anything is journalled', async (t) => {
  const forward = defineTask<Json>({
    kind: 'test.forward',
    summary: () => '',
    forward: true,
    do: async () => undefined,
    undo: 'nothing-to-undo',
  });
  const { engine } = await setUp(t, { more: [forward] });
  const bad: Plan[] = [
    plan('none', [], { tasks: [] }),
    plan('unknown', [], { tasks: [{ kind: 'test.nothing', params: null }] }),
    plan('forward first', [], { tasks: [{ kind: 'test.forward', params: null }] }),
    plan('large', [], { tasks: [{ kind: 'test.gate', params: 'x'.repeat(300_000) }] }),
  ];
  for (const one of bad) await t.throwsAsync(engine.submit(one), undefined, one.summary);
  t.deepEqual(await engine.list(10), []);
});

test('the history is bounded', async (t) => {
  const { engine, gates, store } = await setUp(t, { limits: { historyMax: 5 } });
  gates.get('a').resolve();
  for (let n = 0; n < 100; n++) await (await engine.submit(plan('a', ['x']))).done;
  t.is((await store.get('SELECT count(*) AS n FROM changes'))?.n, 5);
  t.is((await store.get('SELECT count(DISTINCT change) AS n FROM events'))?.n, 5);
});

test('a thousand subordinate ids count as the one user they belong to', async (t) => {
  const accountOf = (uid: number) => (uid >= 100_000 && uid < 165_536 ? 1000 : uid);
  const { engine, gates } = await setUp(t, { accountOf, limits: { changesPerOwnerMax: 3 } });
  const taken: Promise<unknown>[] = [];
  let refused = 0;
  for (let n = 0; n < 1_000; n++)
    await engine.submit(plan(`s${n}`, [`x${n}`], { ownerUid: 100_000 + n })).then(
      ({ done }) => taken.push(done),
      (error: unknown) => {
        t.is(code(error), 'too-many-requests');
        refused += 1;
      },
    );
  t.is(taken.length, 3);
  t.is(refused, 997);
  const root = await engine.submit(plan('root', ['r']));
  t.is((await engine.show(root.changeId)).status, 'doing');
  for (const name of ['root', 's0', 's1', 's2']) gates.get(name).resolve();
  await Promise.all([root.done, ...taken]);
});
