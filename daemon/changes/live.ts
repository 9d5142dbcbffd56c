import type { ChangeEvent, ChangeView, Failure, Plan, Result } from './change.ts';
import type { Stored } from './journal.ts';
import type { Kinds } from './kinds.ts';
import {
  type ChangeStatus,
  type ChangeStep,
  isEnded,
  nextChange,
  nextTask,
  type TaskStatus,
  type TaskStep,
} from './status.ts';
import type { Json, Progress, TaskSpec } from './task.ts';

/** A task of a change in memory. */
export interface LiveTask {
  spec: TaskSpec;
  status: TaskStatus;
  /** Its `start` is in the journal: a crash from here on means it is undone. */
  declared: boolean;
  /** Its `do` ran in this process: an ephemeral effect may still be there. */
  here: boolean;
  saved?: Json;
  progress?: Progress;
}

/** A change in memory: what the journal says of it, and what dies with the process. */
export interface Live {
  id: number;
  plan: Plan;
  status: ChangeStatus;
  tasks: LiveTask[];
  createdMs: number;
  endedMs?: number;
  error?: Failure;
  result?: Json;
  /** Aborted to make tasks stop; replaced when the change is continued. */
  stop: AbortController;
  abortAsked: boolean;
  /** Descriptors and other values the tasks of this process share. */
  bag: Map<string, unknown>;
  /** A task that did not end in its grace time: nothing else may run for this change. */
  hung?: Promise<unknown>;
  listeners: Set<(event: ChangeEvent) => void>;
  lastProgressMs: number;
  /** Settled when what is journalled after the fact is written, or cannot be. */
  journalled: Promise<void>;
  ended: PromiseWithResolvers<Result>;
}

/** A new change, not yet journalled. */
export function newLive(id: number, plan: Plan, nowMs: number): Live {
  return {
    id,
    plan,
    status: 'queued',
    tasks: plan.tasks.map((spec) => ({ spec, status: 'waiting', declared: false, here: false })),
    createdMs: nowMs,
    stop: new AbortController(),
    abortAsked: false,
    bag: new Map(),
    listeners: new Set(),
    lastProgressMs: 0,
    journalled: Promise.resolve(),
    ended: Promise.withResolvers<Result>(),
  };
}

/** The change that the journal tells of: every event passes the table of legal steps again. */
export function replay(stored: Stored): Live {
  const live = newLive(stored.id, stored.plan, stored.createdMs);
  for (const { step, task: index, detail } of stored.events) {
    if (step === 'create') continue;
    if (index === undefined) {
      live.status = nextChange(live.status, step as ChangeStep);
      if (step === 'abort') live.abortAsked = true;
      continue;
    }
    const task = live.tasks[index];
    if (task === undefined) continue;
    if (step === 'save') {
      if (detail !== undefined) task.saved = detail;
      continue;
    }
    task.status = nextTask(task.status, step as TaskStep);
    if (step === 'start') task.declared = true;
    if (step === 'finish' && detail !== undefined) task.saved = detail;
  }
  if (stored.error !== undefined) live.error = stored.error;
  if (stored.result !== undefined) live.result = stored.result;
  if (stored.endedMs !== undefined) live.endedMs = stored.endedMs;
  return live;
}

/** How the change ended. */
export function resultOf(live: Live): Result {
  return {
    changeId: live.id,
    status: live.status,
    ...(live.result === undefined ? {} : { result: live.result }),
    ...(live.error === undefined ? {} : { error: live.error }),
  };
}

/** The change as others may see it. */
export function viewOf(live: Live, kinds: Kinds): ChangeView {
  return {
    id: live.id,
    kind: live.plan.kind,
    summary: live.plan.summary,
    ownerUid: live.plan.ownerUid,
    status: live.status,
    holds: live.plan.holds,
    createdMs: live.createdMs,
    ...(live.endedMs === undefined ? {} : { endedMs: live.endedMs }),
    ...(live.error === undefined ? {} : { error: live.error }),
    ...(live.result === undefined ? {} : { result: live.result }),
    tasks: live.tasks.map((task) => ({
      kind: task.spec.kind,
      summary: kinds.summary(task.spec),
      params: task.spec.params,
      status: task.status,
      ...(task.progress === undefined ? {} : { progress: task.progress }),
    })),
  };
}

/** Tells every follower; one that throws is dropped and disturbs nobody. */
export function tell(live: Live, event: Omit<ChangeEvent, 'changeId' | 'status'>): void {
  for (const listener of live.listeners) {
    try {
      listener({ changeId: live.id, status: live.status, ...event });
    } catch {
      live.listeners.delete(listener);
    }
  }
  if (isEnded(live.status)) live.listeners.clear();
}

/** Tells every follower where the task at `index` is. Costs nothing when nobody listens. */
export function tellTask(live: Live, index: number, kinds: Kinds): void {
  if (live.listeners.size > 0) tell(live, taskEvent(live, index, kinds));
}

/** The part of a change event that speaks of the task at `index`. */
export function taskEvent(
  live: Live,
  index: number,
  kinds: Kinds,
): Pick<ChangeEvent, 'task' | 'progress'> {
  const task = live.tasks[index];
  if (task === undefined) return {};
  return {
    task: {
      index,
      count: live.tasks.length,
      kind: task.spec.kind,
      summary: kinds.summary(task.spec),
      status: task.status,
    },
    ...(task.progress === undefined ? {} : { progress: task.progress }),
  };
}
