import { PersonaError } from '../../ipc/errors.ts';
import type { ChangeEvent, ChangeView, DryRun, Plan, Result } from './change.ts';
import { abort, follow, list, resume, show } from './commands.ts';
import { checkedValue } from './journal.ts';
import { viewOf } from './live.ts';
import {
  checkHolders,
  checkPlaces,
  enter,
  newQueue,
  type QueueParts,
  startQueued,
} from './queue.ts';
import { recover } from './recovery.ts';
import { isEnded } from './status.ts';

/** What the engine needs from outside. */
export interface EngineParts extends Omit<QueueParts, 'broken'> {
  /** Throws `no-space` when `bytes` do not fit beside the reserve; a rescue may use the reserve. */
  space(bytes: number, rescue: boolean): Promise<void> | void;
}

/** Durable, undoable operations: one queue for the whole daemon. */
export interface Engine {
  /** What would run, without running or journalling anything. */
  dryRun(plan: Plan): DryRun;
  /**
   * Journals the plan and starts it, or queues it behind what holds its things. Resolves when the intent is on the disk; at once
   * where the disk has nothing to tell of before the next commit: its number may be told to others when `written` has resolved.
   * `done` never rejects.
   */
  submit(plan: Plan): Promise<{ changeId: number; written: Promise<void>; done: Promise<Result> }>;
  /** Stops a change before its point of no return and undoes it. Resolves when it has ended. */
  abort(id: number): Promise<Result>;
  /** Tries a stuck change again where it stopped. Resolves when it has ended or is stuck again. */
  continue(id: number): Promise<Result>;
  /** Hears of a change until it ends; the present state comes first. Returns how to stop listening. */
  follow(id: number, listener: (event: ChangeEvent) => void): Promise<() => void>;
  show(id: number): Promise<ChangeView>;
  /** Open changes and the newest ended ones, newest first; of one owner when `ownerUid` is given. */
  list(limit: number, ownerUid?: number): Promise<ChangeView[]>;
  /** Open changes, from memory. */
  open(): ChangeView[];
  /** Finishes or undoes what a crash left. Until this has resolved, `submit` refuses. */
  recover(): Promise<void>;
  /** Why no change is taken, or undefined. */
  refusing(): string | undefined;
  /** Takes no more changes for this reason (shown to callers), for ever. */
  refuse(reason: string): void;
  /** Takes only changes that repair the state tree, for this reason. */
  degrade(reason: string): Promise<void>;
  /** Takes no more changes and waits for those that run. */
  stop(): Promise<void>;
}

/** The engine over `parts`. */
export function startEngine(given: EngineParts): Engine {
  const queue = newQueue();
  const parts: QueueParts = {
    ...given,
    broken: (error) => {
      queue.refusal = `the journal cannot be written: ${String((error as Error)?.message ?? error)}`;
      given.log.error({ err: error }, 'cannot write the journal: no more changes are taken');
      startQueued(queue, parts);
    },
  };
  const check = (plan: Plan): void => {
    const { tasksMax, journalValueBytesMax } = parts.limits;
    parts.kinds.check(plan, tasksMax);
    for (const task of plan.tasks) checkedValue(task.params, 'a parameter', journalValueBytesMax);
  };
  const checkTaken = (plan: Plan): void => {
    if (queue.refusal !== undefined && !(queue.repairs && plan.needs?.repairs === true))
      throw new PersonaError('daemon-degraded', { reason: queue.refusal });
  };
  return {
    dryRun(plan) {
      check(plan);
      return parts.kinds.dryRun(plan);
    },
    async submit(plan) {
      check(plan);
      checkTaken(plan);
      await given.space(plan.needs?.bytes ?? 0, plan.needs?.rescue === true);
      checkTaken(plan); // it may be stopping since
      // From here until the journal is asked nothing waits: places and holds are taken in one step.
      checkPlaces(queue, plan, parts);
      checkHolders(queue, plan, parts);
      const { live, written } = await enter(queue, plan, parts);
      return { changeId: live.id, written, done: live.ended.promise };
    },
    abort: (id) => abort(queue, id, parts),
    continue: (id) => resume(queue, id, parts),
    follow: (id, listener) => follow(queue, id, listener, parts),
    show: (id) => show(queue, id, parts),
    list: (limit, ownerUid) => list(queue, limit, ownerUid, parts),
    open: () => [...queue.open.values()].map((live) => viewOf(live, parts.kinds)),
    async recover() {
      queue.lastId = await parts.journal.lastId();
      for (const live of await recover(parts))
        if (!isEnded(live.status)) queue.open.set(live.id, live);
      if (queue.refusal === 'it is starting') queue.refusal = undefined;
    },
    refusing: () => queue.refusal,
    refuse: (reason) => {
      queue.refusal = reason;
      queue.repairs = false;
    },
    async degrade(reason) {
      queue.lastId = await parts.journal.lastId();
      queue.refusal = reason;
      queue.repairs = true;
    },
    async stop() {
      queue.refusal = 'it is stopping';
      // What is only being journalled runs after that.
      while (queue.running.size > 0) await Promise.all(queue.running.values());
    },
  };
}
