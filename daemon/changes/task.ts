import type { Tx } from '../store/store.ts';

/** What can be journalled: plain data, no dates, no buffers, no undefined. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/** How far a task is; `total` absent means unknown. The unit is the task's own (bytes, entries). */
export interface Progress {
  done: number;
  total?: number;
  unit?: 'bytes' | 'entries' | 'steps';
  note?: string;
}

/** What a running task may see of its change. */
export interface TaskContext {
  readonly changeId: number;
  /** The uid on whose behalf the change runs, 0 for root. */
  readonly ownerUid: number;
  /** Aborted when the change is aborted or the task's deadline has passed. Pass it to whatever waits. */
  readonly signal: AbortSignal;
  /** Values that die with the process (descriptors, detached mounts), shared by the tasks of one change. */
  readonly live: Map<string, unknown>;
  /** Tells followers how far the task is. Cheap: the engine thins it out. */
  progress(progress: Progress): void;
  /** Makes `value` durable for `undo` before the machine is changed. Returns when it is on the disk. */
  save(value: Json): Promise<void>;
  /** What the latest finished task of `kind` in this change handed over as `saved`; undefined if none. */
  earlier<T extends Json>(kind: string): T | undefined;
  /** A named point at which the tests may kill the daemon. Does nothing in service. */
  fault(point: string): Promise<void>;
}

/** What a `do` hands to the runner. */
export interface Outcome<S> {
  /** Adds the room's rows: committed in one transaction with the journal's event. */
  record?: (tx: Tx) => void;
  /** Kept in the journal: handed to `undo`, and to later tasks by `earlier`. */
  saved?: S;
  /** The answer of the whole change; the last task that gives one wins. */
  result?: Json;
}

/** The reverse of a task: it gets the parameters and what was saved, and may run in another process. */
export type Undo<P, S> = (
  context: TaskContext,
  params: P,
  saved: S | undefined,
  // biome-ignore lint/suspicious/noConfusingVoidType: an undo with nothing to record returns nothing
) => Promise<{ record?: (tx: Tx) => void } | undefined | void>;

/**
 * One kind of step. `do` and `undo` stand side by side and are both safe to run twice; `undo` is also
 * safe when `do` was cut off anywhere, or never began.
 */
export interface TaskKind<P = Json, S = Json> {
  /** `room.verb-noun`, for example `slots.mount-layers`. */
  kind: string;
  /** One line for people: what this step does with these parameters. */
  summary(params: P): string;
  // biome-ignore lint/suspicious/noConfusingVoidType: a task with nothing to hand over returns nothing
  do(context: TaskContext, params: P): Promise<Outcome<S> | undefined | void>;
  /** `nothing-to-undo` is said on purpose, never by leaving it out. */
  undo: 'nothing-to-undo' | Undo<P, S>;
  /** Runs after the point of no return: recovery repeats `do` until it succeeds, nothing is undone. */
  forward?: true;
  /** The commit of this task is the point of no return. Every later task of the plan must be `forward`. */
  pointOfNoReturn?: true;
  /** Its `do` changes nothing: all it has is the rows it hands over. */
  rowsOnly?: true;
  /** The effect dies with the process: no journal record of its own, only undone in the same process. */
  ephemeral?: true;
  /** Longest time of one `do` or `undo`; `taskTimeoutMs` of the limits when absent. */
  timeoutMs?: number;
}

/** A task as data: what a plan lists and a dry run prints. */
export interface TaskSpec {
  kind: string;
  params: Json;
}

/** Gives a task kind its parameter and saved types, for rooms to declare theirs. */
export function defineTask<P, S extends Json = Json>(task: TaskKind<P, S>): TaskKind<P, S> {
  return task;
}

/** A task kind with its own types forgotten: the form in which the engine's registry takes it. */
export interface AnyTask extends Omit<TaskKind<never, Json>, 'undo'> {
  undo: 'nothing-to-undo' | Undo<never, never>;
}
