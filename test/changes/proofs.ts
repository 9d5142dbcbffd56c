import type { ExecutionContext } from 'ava';
import type { Result } from '../../daemon/changes/change.ts';
import type { Faults } from '../../daemon/changes/faults.ts';
import type { AnyTask, Json } from '../../daemon/changes/task.ts';
import { proveCrashes, proveKills, type SubjectPlace } from './crashes.ts';
import { type Course, type Hooks, inFolder, plain, type Subject, withMachine } from './machine.ts';

export { dieAt, proveCrashes, proveKills, type SubjectPlace } from './crashes.ts';
export type { Course, Hooks, Machine, Subject } from './machine.ts';

/** Runs the change on a fresh machine and tells how it ended and what is there then. */
function runOnce(subject: Subject, hooks: Partial<Hooks>): Promise<{ result: Result; seen: Json }> {
  return inFolder(subject, (folder) =>
    withMachine(subject, folder, hooks, async ({ engine, plan, observe }) => {
      const result = await (await engine.submit(await plan())).done;
      return { result, seen: await observe() };
    }),
  );
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
): Promise<void> {
  const inTasks = points.filter((point) => !point.startsWith('journal:'));
  for (const [index, point] of inTasks.entries()) {
    const count = inTasks.slice(0, index + 1).filter((one) => one === point).length;
    for (const wrapTask of [plain.wrapTask, twice]) {
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

/**
 * All proofs of one change, in order. `place` is where the child finds the subject. A whole daemon leaves out crashes
 * within this process: its state tree would be locked twice.
 */
export async function proveChange(
  t: ExecutionContext,
  subject: Subject,
  place: SubjectPlace,
  { crashes = true } = {},
): Promise<void> {
  const seen = await course(t, subject);
  await proveRepeat(t, subject, seen);
  await proveFailures(t, subject, seen);
  await proveStuck(t, subject, seen);
  if (crashes) await proveCrashes(t, subject, seen);
  await proveKills(t, subject, seen, place);
}
