import * as v from 'valibot';
import { sync } from '../method.ts';
import { count, failure, progress, serial, uid } from './values.ts';

/** Where a change is. The last three of the first line are ends; `stuck-*` waits for a person. */
export const changeStatus = v.picklist([
  ...['queued', 'doing', 'committed', 'undoing', 'done', 'failed', 'aborted'],
  ...['stuck-undoing', 'stuck-committed'],
] as const);

const taskStatus = v.picklist(['waiting', 'doing', 'done', 'failed', 'undoing', 'undone']);

const line = {
  id: serial,
  /** The method that asked, for example `slot.swap`. */
  kind: v.string(),
  summary: v.string(),
  ownerUid: uid,
  status: changeStatus,
  createdMs: count,
  endedMs: v.optional(count),
  error: v.optional(failure),
};

/** A change in a list. */
export const changeLine = v.strictObject({ ...line, progress: v.optional(progress) });

/** A change in full. */
export const changePage = v.strictObject({
  ...line,
  holds: v.array(v.string()),
  result: v.optional(v.unknown()),
  tasks: v.array(
    v.strictObject({
      kind: v.string(),
      summary: v.string(),
      params: v.unknown(),
      status: taskStatus,
      progress: v.optional(progress),
    }),
  ),
});

/** What a follower is told; the last event has an ended or stuck status. */
export const changeEvent = v.strictObject({
  changeId: serial,
  status: changeStatus,
  task: v.optional(
    v.strictObject({
      index: count,
      count,
      kind: v.string(),
      summary: v.string(),
      status: taskStatus,
    }),
  ),
  progress: v.optional(progress),
  error: v.optional(failure),
  result: v.optional(v.unknown()),
});

/** An abort or continue answers when the change has ended: its tasks have deadlines of their own. */
const endTimeoutMs = 20 * 60_000;

/** Methods about changes. A caller sees its own; root sees all. */
export const changeMethods = {
  'change.list': sync(
    'any',
    'Lists changes, the newest first.',
    {
      /** Also those that have ended. */
      all: v.optional(v.boolean()),
      limit: v.optional(v.pipe(count, v.maxValue(1000))),
    },
    { changes: v.array(changeLine) },
  ),
  'change.show': sync(
    'any',
    'Shows one change with its tasks.',
    { change: serial },
    {
      change: changePage,
    },
  ),
  'change.follow': sync(
    'any',
    'Sends the events of a change until it has ended.',
    { change: serial },
    { change: changePage },
  ),
  'change.abort': sync(
    'any',
    'Stops a change and undoes what it has done; only before its point of no return.',
    { change: serial },
    { change: changePage },
    { timeoutMs: endTimeoutMs },
  ),
  'change.continue': sync(
    'any',
    'Tries the undo or the last steps of a stuck change again.',
    { change: serial },
    { change: changePage },
    { timeoutMs: endTimeoutMs },
  ),
};
