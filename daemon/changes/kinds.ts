import { PersonaError } from '../../ipc/errors.ts';
import type { DryRun, Plan } from './change.ts';
import type { AnyTask, Json, TaskKind, TaskSpec } from './task.ts';

/** The task kinds the rooms registered. */
export interface Kinds {
  /** The kind of this name; throws `internal` when no room registered it. */
  get(kind: string): TaskKind<Json, Json>;
  has(kind: string): boolean;
  /** The line for people; an unknown kind is named, not an error. */
  summary(spec: TaskSpec): string;
  /** Throws `internal` when the plan breaks a rule of the engine. */
  check(plan: Plan, tasksMax: number): void;
  /** The plan in words: exactly the list that would run. */
  dryRun(plan: Plan): DryRun;
}

function wrong(reason: string): PersonaError {
  return new PersonaError('internal', reason);
}

/** Registers `tasks`; a name used twice throws. */
export function kindsOf(tasks: readonly AnyTask[]): Kinds {
  const known = new Map<string, TaskKind<Json, Json>>();
  for (const task of tasks) {
    if (known.has(task.kind)) throw wrong(`two tasks are called ${task.kind}`);
    // The registry forgets the parameter types; each kind gets back only what its own plans hold.
    known.set(task.kind, task as unknown as TaskKind<Json, Json>);
  }
  const get = (kind: string): TaskKind<Json, Json> => {
    const task = known.get(kind);
    if (task === undefined) throw wrong(`no room knows the task ${kind}`);
    return task;
  };
  const summary = (spec: TaskSpec): string =>
    known.get(spec.kind)?.summary(spec.params) ?? `(unknown task ${spec.kind})`;
  return {
    get,
    has: (kind) => known.has(kind),
    summary,
    check: (plan, tasksMax) => checkPlan(plan, tasksMax, get),
    dryRun: (plan) => ({
      kind: plan.kind,
      summary: plan.summary,
      holds: plan.holds,
      tasks: plan.tasks.map((spec) => ({
        ...spec,
        summary: summary(spec),
        undo: wayBack(spec, get),
      })),
      needs: { bytes: plan.needs?.bytes ?? 0 },
    }),
  };
}

function wayBack(spec: TaskSpec, get: (kind: string) => TaskKind): DryRun['tasks'][0]['undo'] {
  const task = get(spec.kind);
  if (task.forward) return 'forward';
  return task.undo === 'nothing-to-undo' ? 'nothing' : 'undone';
}

function checkPlan(plan: Plan, tasksMax: number, get: (kind: string) => TaskKind): void {
  if (plan.tasks.length === 0 || plan.tasks.length > tasksMax)
    throw wrong(`a plan has 1 to ${tasksMax} tasks, not ${plan.tasks.length}`);
  let committed = false;
  for (const spec of plan.tasks) {
    const task = get(spec.kind);
    if (committed !== (task.forward === true))
      throw wrong(`${spec.kind} stands on the wrong side of the point of no return`);
    if (task.pointOfNoReturn && (task.forward || task.ephemeral))
      throw wrong(`${spec.kind} cannot be the point of no return`);
    if (task.pointOfNoReturn) committed = true;
  }
}
