import type { ChangeStatus, TaskStatus } from './status.ts';
import type { Json, Progress, TaskSpec } from './task.ts';

/** A change before it runs: pure data, built by a room without touching anything. */
export interface Plan {
  /** The method that asked, for example `slot.swap`. */
  kind: string;
  /** One line for people, without secrets. */
  summary: string;
  ownerUid: number;
  /**
   * What the change holds from start to end, as `noun:id`. Two changes that hold the same thing never
   * overlap, unless both hold it as `shared:noun:id`.
   */
  holds: string[];
  tasks: TaskSpec[];
  needs?: {
    /** Bytes the change will write into the state tree at most: refused early when they are not free. */
    bytes?: number;
    /** The change frees space or brings a slot back: it may use the journal reserve. */
    rescue?: boolean;
    /** The change repairs the state tree: it is taken also where nothing else may be changed. */
    repairs?: boolean;
  };
  /** It runs in the places that are kept for root, whoever owns it: the machine itself asks for it, and cannot wait. */
  places?: 'root';
  /** When something it holds is held: wait for it (the default) or refuse at once. */
  conflict?: 'queue' | 'refuse';
}

/** What a dry run answers: the same list that would run, in words beside the data. */
export interface DryRun {
  kind: string;
  summary: string;
  holds: string[];
  tasks: { kind: string; params: Json; summary: string; undo: 'undone' | 'nothing' | 'forward' }[];
  needs: { bytes: number };
}

/** A failure as it is kept and sent: see the error table of the contract for the code. */
export interface Failure {
  code: string;
  message: string;
  hint?: string;
  /** Index of the task that failed, absent when the failure was outside of any. */
  task?: number;
}

/** One task of a change as it stands. */
export interface TaskView {
  kind: string;
  summary: string;
  params: Json;
  status: TaskStatus;
  progress?: Progress;
}

/** A change as it stands: what `change show` prints. */
export interface ChangeView {
  id: number;
  kind: string;
  summary: string;
  ownerUid: number;
  status: ChangeStatus;
  holds: string[];
  /** Milliseconds since 1970. */
  createdMs: number;
  endedMs?: number;
  error?: Failure;
  result?: Json;
  tasks: TaskView[];
}

/** What a follower hears; the last one has an `ended` status. */
export interface ChangeEvent {
  changeId: number;
  status: ChangeStatus;
  task?: { index: number; count: number; kind: string; summary: string; status: TaskStatus };
  progress?: Progress;
  error?: Failure;
  result?: Json;
}

/** How a change ended: `done` with its result, or an error. */
export interface Result {
  changeId: number;
  status: ChangeStatus;
  result?: Json;
  error?: Failure;
}
