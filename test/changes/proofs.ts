import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Plan, Result } from '../../daemon/changes/change.ts';
import type { Engine } from '../../daemon/changes/engine.ts';
import { type Faults, noFaults } from '../../daemon/changes/faults.ts';
import type { AnyTask, Json } from '../../daemon/changes/task.ts';
import { openDriver } from '../../daemon/store/database.ts';
import type { Driver } from '../../daemon/store/store.ts';

/** Where a proof reaches into a machine: the subject hands these on to its store and engine. */
export interface Hooks {
  faults: Faults;
  openDriver(file: string): Promise<Driver>;
  wrapTask(task: AnyTask): AnyTask;
}

/** One opened machine: the parts of the daemon a change needs, on a folder of its own. */
export interface Machine {
  /** Not yet recovered. */
  engine: Engine;
  /** The change under proof, planned from what the machine is now. */
  plan(): Promise<Plan>;
  /** All that the change may touch, without times and ids: compared between runs. */
  observe(): Promise<Json>;
  close(): Promise<void>;
}

/** A change under proof. Exported from a module, so that a child process can open it too. */
export interface Subject {
  /** A folder of its own instead of a fresh one per run. */
  folder?: string;
  /** Makes the first state of the machine in an empty folder. */
  prepare(folder: string): Promise<void>;
  open(folder: string, hooks: Hooks): Promise<Machine>;
  /** Undoes what `open` left outside of the folder (mounts); called before the folder is deleted. */
  cleanUp?(folder: string): Promise<void>;
}

/** Where the subject stands, for the child that is really killed. */
export interface SubjectPlace {
  module: string;
  name: string;
}

const plain: Hooks = { faults: noFaults, openDriver, wrapTask: (task) => task };

async function inFolder<T>(subject: Subject, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = subject.folder ?? mkdtempSync(join(tmpdir(), 'personad-proof-'));
  try {
    await subject.prepare(folder);
    return await work(folder);
  } finally {
    await subject.cleanUp?.(folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function withMachine<T>(
  subject: Subject,
  folder: string,
  hooks: Partial<Hooks>,
  work: (machine: Machine) => Promise<T>,
): Promise<T> {
  const machine = await subject.open(folder, { ...plain, ...hooks });
  try {
    await machine.engine.recover();
    return await work(machine);
  } finally {
    await machine.close();
  }
}

/** Runs the change on a fresh machine and tells how it ended and what is there then. */
function runOnce(subject: Subject, hooks: Partial<Hooks>): Promise<{ result: Result; seen: Json }> {
  return inFolder(subject, (folder) =>
    withMachine(subject, folder, hooks, async ({ engine, plan, observe }) => {
      const result = await (await engine.submit(await plan())).done;
      return { result, seen: await observe() };
    }),
  );
}

/** What an undisturbed run shows: both states, and every fault point in its order. */
export interface Course {
  first: Json;
  target: Json;
  points: string[];
}

/** Runs the change once undisturbed. */
export async function course(t: ExecutionContext, subject: Subject): Promise<Course> {
  const points: string[] = [];
  const faults: Faults = { at: async (point) => void points.push(point) };
  return await inFolder(subject, (folder) =>
    withMachine(subject, folder, { faults }, async ({ engine, plan, observe }) => {
      const first = await observe();
      const wanted = await plan();
      points.length = 0;
      const dry = engine.dryRun(wanted);
      const { changeId, done } = await engine.submit(wanted);
      const result = await done;
      t.is(result.status, 'done', JSON.stringify(result.error));
      const target = await observe();
      t.notDeepEqual(target, first, 'the change must change something that is observed');
      const ran = (await engine.show(changeId)).tasks;
      t.deepEqual(
        dry.tasks.map(({ kind, params }) => ({ kind, params })),
        ran.map(({ kind, params }) => ({ kind, params })),
        'a dry run prints exactly what runs',
      );
      return { first, target, points: [...points] };
    }),
  );
}

/** Every `do` and every `undo` twice, at once. */
export const twice = (task: AnyTask): AnyTask => {
  const { do: work, undo } = task;
  return {
    ...task,
    do: async (context, params) => {
      await work(context, params);
      return await work(context, params);
    },
    undo:
      undo === 'nothing-to-undo'
        ? undo
        : async (context, params, saved) => {
            await undo(context, params, saved);
            return await undo(context, params, saved);
          },
  };
};

/** A fault at the `count`-th visit of points that `matches` accepts. */
function failAt(matches: (point: string) => boolean, count = 1): Faults {
  let visits = 0;
  return {
    at: async (point) => {
      if (!matches(point)) return;
      visits += 1;
      if (visits === count) throw new Error(`injected at ${point}`);
    },
  };
}

/** Each task run twice still reaches the target. */
export async function proveRepeat(
  t: ExecutionContext,
  subject: Subject,
  { target }: Course,
): Promise<void> {
  const { result, seen } = await runOnce(subject, { wrapTask: twice });
  t.is(result.status, 'done', JSON.stringify(result.error));
  t.deepEqual(seen, target, 'every task run twice');
}

/**
 * A failure before, within and after each task: before the point of no return the first state comes
 * back (also when each undo runs twice); after it the change is stuck, and continuing reaches the target.
 */
export async function proveFailures(
  t: ExecutionContext,
  subject: Subject,
  { first, target, points }: Course,
  { undoOnce = true }: { undoOnce?: boolean } = {},
): Promise<void> {
  const inTasks = points.filter((point) => !point.startsWith('journal:'));
  for (const [index, point] of inTasks.entries()) {
    const count = inTasks.slice(0, index + 1).filter((one) => one === point).length;
    for (const wrapTask of undoOnce ? [plain.wrapTask, twice] : [twice]) {
      const faults = failAt((one) => one === point, count);
      await inFolder(subject, (folder) =>
        withMachine(subject, folder, { faults, wrapTask }, async ({ engine, plan, observe }) => {
          const { changeId, done } = await engine.submit(await plan());
          let result = await done;
          const where = `failure at ${point}: ${JSON.stringify(result)}`;
          if (result.status === 'failed') return void t.deepEqual(await observe(), first, where);
          if (result.status === 'stuck-committed') result = await engine.continue(changeId);
          t.is(result.status, 'done', where);
          t.deepEqual(await observe(), target, where);
        }),
      );
    }
  }
}

/** A failing undo leaves the change stuck and visible; continuing it brings the first state back. */
export async function proveStuck(
  t: ExecutionContext,
  subject: Subject,
  { first, points }: Course,
): Promise<void> {
  const commit = points.findIndex((point) => /\+commit$/.test(point));
  const before = commit < 0 ? points : points.slice(0, commit);
  const last = before.findLast((point) => point.startsWith('did:'));
  if (last === undefined) return;
  const undone: string[] = [];
  const start = failAt((point) => point === last);
  await runOnce(subject, {
    faults: {
      at: async (point) => {
        if (/^und(o|id):/.test(point)) undone.push(point);
        await start.at(point);
      },
    },
  });
  for (const point of undone) {
    const failing = failAt((one) => one === point);
    const again = failAt((one) => one === last);
    const faults: Faults = {
      at: async (one) => {
        await again.at(one);
        await failing.at(one);
      },
    };
    await inFolder(subject, (folder) =>
      withMachine(subject, folder, { faults }, async ({ engine, plan, observe }) => {
        const { changeId, done } = await engine.submit(await plan());
        t.is((await done).status, 'stuck-undoing', `undo fails at ${point}`);
        await t.throwsAsync(engine.submit(await plan()), undefined, 'what is stuck stays held');
        t.is((await engine.continue(changeId)).status, 'failed');
        t.deepEqual(await observe(), first, `continued after a failed undo at ${point}`);
      }),
    );
  }
}

/** A database connection that a crash cuts: from then on nothing is written and nothing answers. */
function cuttable(): { cut(): void; release(): void; openDriver: Hooks['openDriver'] } {
  let dead = false;
  const opened: Driver[] = [];
  const never = new Promise<never>(() => undefined);
  return {
    cut: () => {
      dead = true;
    },
    release: () => {
      for (const driver of opened) driver.close().catch(() => undefined);
    },
    openDriver: async (file) => {
      const driver = await openDriver(file);
      opened.push(driver);
      return {
        exec: (sql) => (dead ? never : driver.exec(sql)),
        all: (sql, values) => (dead ? never : driver.all(sql, values)),
        close: () => driver.close(),
      };
    },
  };
}

/** Recovers twice, each time as a new machine, and expects one of the two states both times. */
async function expectRecovered(
  t: ExecutionContext,
  subject: Subject,
  folder: string,
  { first, target }: Course,
  where: string,
): Promise<void> {
  const seen: Json[] = [];
  for (const turn of ['first', 'second']) {
    const now = await withMachine(subject, folder, {}, async ({ engine, observe }) => {
      t.deepEqual(engine.open(), [], `${where}: nothing stays open after the ${turn} recovery`);
      return await observe();
    });
    seen.push(now);
  }
  const isFirst = JSON.stringify(seen[0]) === JSON.stringify(first);
  t.deepEqual(seen[0], isFirst ? first : target, `${where}: the first state or the target`);
  t.deepEqual(seen[1], seen[0], `${where}: a second recovery changes nothing`);
}

/**
 * A crash at every fault point, in this process: the machine freezes there for ever, and a new one
 * recovers the folder. Also a crash at every point of that recovery, when `deep`.
 */
export async function proveCrashes(
  t: ExecutionContext,
  subject: Subject,
  seen: Course,
  { deep = false }: { deep?: boolean } = {},
): Promise<void> {
  for (let at = 1; at <= seen.points.length; at++) {
    let recoveryPoints = 0;
    for (let again = 0; again <= (deep ? recoveryPoints : 0); again++) {
      await inFolder(subject, async (folder) => {
        await crash(subject, folder, at, async ({ engine, plan }) => {
          await (await engine.submit(await plan())).done;
        });
        if (again > 0) await crash(subject, folder, again, async () => undefined);
        else if (deep) recoveryPoints = await countRecovery(subject, folder);
        const where = `crash at ${seen.points[at - 1]}, then at point ${again} of the recovery`;
        await expectRecovered(t, subject, folder, seen, where);
      });
    }
  }
}

async function countRecovery(subject: Subject, folder: string): Promise<number> {
  let count = 0;
  const faults: Faults = { at: async () => void count++ };
  await withMachine(subject, folder, { faults }, async () => undefined);
  return count;
}

/** Opens a machine, works on it and freezes it at its `at`-th fault point, counted after opening. */
async function crash(
  subject: Subject,
  folder: string,
  at: number,
  work: (machine: Machine) => Promise<void>,
): Promise<void> {
  const { cut, release, openDriver } = cuttable();
  const frozen = Promise.withResolvers<void>();
  let count = 0;
  const faults: Faults = {
    at: () => {
      count += 1;
      if (count < at) return Promise.resolve();
      cut();
      frozen.resolve();
      return new Promise(() => undefined);
    },
  };
  const machine = await subject.open(folder, { ...plain, faults, openDriver });
  const run = machine.engine.recover().then(() => work(machine));
  await Promise.race([run, frozen.promise]);
  release();
}

/** The real thing: a child process runs the change and is killed by SIGKILL at every fault point. */
export async function proveKills(
  t: ExecutionContext,
  subject: Subject,
  seen: Course,
  place: SubjectPlace,
): Promise<void> {
  for (let at = 1; at <= seen.points.length; at++) {
    await inFolder(subject, async (folder) => {
      const signal = await killedAt(place, folder, at);
      t.is(signal, 'SIGKILL', `the child must die at point ${at}`);
      await expectRecovered(t, subject, folder, seen, `killed at ${seen.points[at - 1]}`);
    });
  }
}

function killedAt(place: SubjectPlace, folder: string, at: number): Promise<string | null> {
  const child = fileURLToPath(new URL('./proof-child.ts', import.meta.url));
  return new Promise((resolve, reject) => {
    const args = ['--no-warnings', child, place.module, place.name, folder, String(at)];
    const running = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    const timer = setTimeout(() => running.kill('SIGTERM'), 60_000);
    running.on('error', reject);
    running.on('exit', (_, signal) => {
      clearTimeout(timer);
      resolve(signal);
    });
  });
}

/** Opens the subject in this process and kills the process at its `at`-th fault point. */
export async function dieAt(subject: Subject, folder: string, at: number): Promise<void> {
  let count = 0;
  const faults: Faults = {
    at: async () => {
      count += 1;
      if (count !== at) return;
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => undefined);
    },
  };
  const machine = await subject.open(folder, { ...plain, faults });
  await machine.engine.recover();
  await (await machine.engine.submit(await machine.plan())).done;
}

/** All proofs of one change, in order. `place` is where the child finds the subject. */
export async function proveChange(
  t: ExecutionContext,
  subject: Subject,
  place: SubjectPlace,
): Promise<void> {
  const seen = await course(t, subject);
  await proveRepeat(t, subject, seen);
  await proveFailures(t, subject, seen);
  await proveStuck(t, subject, seen);
  await proveCrashes(t, subject, seen);
  await proveKills(t, subject, seen, place);
}
