import { PersonaError } from '../../ipc/errors.ts';
import type { ChangeEvent, ChangeView, Result } from './change.ts';
import type { Entry } from './journal.ts';
import { type Live, replay, resultOf, taskEvent, tell, viewOf } from './live.ts';
import { failureOf } from './parts.ts';
import { launch, type Queue, type QueueParts, startQueued } from './queue.ts';
import { type ChangeStep, isEnded, isStuck, nextChange } from './status.ts';

/** The open change `id`, or, ended, as the journal has it. Throws `change-not-found`. */
async function find(queue: Queue, id: number, parts: QueueParts): Promise<Live> {
  const live = queue.open.get(id);
  if (live !== undefined) return live;
  const stored = await parts.journal.load(id);
  if (stored === undefined) throw new PersonaError('change-not-found', { change: id });
  return replay(stored);
}

/** Stops a change before its point of no return and undoes it. Resolves when it has ended. */
export async function abort(queue: Queue, id: number, parts: QueueParts): Promise<Result> {
  const live = await find(queue, id, parts);
  if (live.status === 'queued') return await cancelQueued(queue, live, parts);
  if (live.status !== 'doing') {
    const committed = live.status === 'committed' || live.status === 'stuck-committed';
    const reason = committed ? 'it has passed the point of no return' : `it is ${live.status}`;
    throw new PersonaError('change-not-abortable', { change: id, reason });
  }
  live.abortAsked = true;
  live.stop.abort(new PersonaError('cancelled'));
  return live.ended.promise;
}

/**
 * Journals the step of a command, whose status counts at once, so that nobody else acts meanwhile. When that fails the change is what it
 * was, as the journal has it.
 */
async function journalStep(
  live: Live,
  step: ChangeStep,
  ended: Entry['ended'],
  parts: QueueParts,
): Promise<void> {
  const before = live.status;
  live.status = nextChange(before, step);
  const entry = { changeId: live.id, events: [{ step }], status: live.status };
  try {
    await parts.journal.append(ended === undefined ? entry : { ...entry, ended });
  } catch (error) {
    live.status = before;
    parts.broken(error);
    throw error;
  }
}

async function cancelQueued(queue: Queue, live: Live, parts: QueueParts): Promise<Result> {
  const error = failureOf(new PersonaError('change-aborted', { change: live.id }));
  await journalStep(live, 'abort', { error }, parts);
  live.error = error;
  live.abortAsked = true;
  live.endedMs = parts.now();
  queue.open.delete(live.id);
  live.ended.resolve(resultOf(live));
  tell(live, { error });
  startQueued(queue, parts);
  // Who waits for it may have been answered before.
  return resultOf(live);
}

/** Tries a stuck change again where it stopped. Resolves when it has ended or is stuck again. */
export async function resume(queue: Queue, id: number, parts: QueueParts): Promise<Result> {
  const live = await find(queue, id, parts);
  if (!isStuck(live.status)) throw new PersonaError('change-not-stuck', { change: id });
  await hungEnds(live, parts);
  // Of two that have waited the second finds it going on.
  if (!isStuck(live.status)) throw new PersonaError('change-not-stuck', { change: id });
  await journalStep(live, 'continue', undefined, parts);
  live.ended = Promise.withResolvers();
  launch(queue, live, parts);
  return live.ended.promise;
}

/** Waits a little for a task that did not end when it was told to. Throws `change-stuck` when it goes on. */
async function hungEnds(live: Live, parts: QueueParts): Promise<void> {
  if (live.hung === undefined) return;
  const given = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => given.resolve('late'), parts.limits.taskGraceMs);
  const late = (await Promise.race([live.hung, given.promise])) === 'late';
  clearTimeout(timer);
  if (late)
    throw new PersonaError('change-stuck', {
      change: live.id,
      reason: 'a task still does not end',
    });
  delete live.hung;
}

/** Hears of a change until it ends; the present state comes first. Returns how to stop listening. */
export async function follow(
  queue: Queue,
  id: number,
  listener: (event: ChangeEvent) => void,
  parts: QueueParts,
): Promise<() => void> {
  const live = await find(queue, id, parts);
  if (live.listeners.size >= parts.limits.followersMax)
    throw new PersonaError('too-many-requests', { limit: parts.limits.followersMax });
  const at = live.tasks.findIndex((one) => one.status === 'doing' || one.status === 'undoing');
  if (!isEnded(live.status)) live.listeners.add(listener);
  const { error, result } = live;
  listener({
    changeId: id,
    status: live.status,
    ...taskEvent(live, at, parts.kinds),
    ...(error === undefined ? {} : { error }),
    ...(result === undefined ? {} : { result }),
  });
  return () => live.listeners.delete(listener);
}

/** One change as it stands. */
export async function show(queue: Queue, id: number, parts: QueueParts): Promise<ChangeView> {
  return viewOf(await find(queue, id, parts), parts.kinds);
}

/** Open changes and the newest ended ones, newest first; of one owner when `ownerUid` is given. */
export async function list(
  queue: Queue,
  limit: number,
  ownerUid: number | undefined,
  parts: QueueParts,
): Promise<ChangeView[]> {
  const ended = await parts.journal.ended(limit, ownerUid);
  const open = [...queue.open.values()]
    .filter((live) => ownerUid === undefined || live.plan.ownerUid === ownerUid)
    .toReversed();
  const known = new Set(open.map((live) => live.id));
  return [...open, ...ended.filter((one) => !known.has(one.id)).map(replay)]
    .slice(0, limit)
    .map((live) => viewOf(live, parts.kinds));
}
