import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from './change.ts';
import { blocker, type Holder } from './conflicts.ts';
import { declare, writtenWithNext } from './forward.ts';
import { type Live, newLive, resultOf } from './live.ts';
import { failureOf, type RunnerParts } from './parts.ts';
import { run, settle } from './runner.ts';
import { isEnded, isStuck, nextChange } from './status.ts';

/** What admission needs from outside. */
export interface QueueParts extends RunnerParts {
  /** The owner a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
  /** Called before the first task of each change, with its kind. */
  began?(kind: string): void;
  /** Called after each change that has ended. */
  ended?(): void;
}

/** The open changes of the daemon in the order in which they came, and those that run. */
export interface Queue {
  open: Map<number, Live>;
  running: Map<number, Promise<void>>;
  /** Highest id given out; undefined until recovery has read it. */
  lastId: number | undefined;
  /** Why no change is taken or started, or undefined. */
  refusal: string | undefined;
  /** Changes that repair the state tree are taken all the same. */
  repairs: boolean;
}

/** A queue that takes nothing yet. */
export function newQueue(): Queue {
  return {
    open: new Map(),
    running: new Map(),
    lastId: undefined,
    refusal: 'it is starting',
    repairs: false,
  };
}

const isRoots = ({ ownerUid, places }: Plan): boolean => ownerUid === 0 || places === 'root';

/**
 * A place to run is left for it. Some are kept for root, and of the others one account has at most half: what only waits, for a slot
 * that is in use or for a slow disk, has a place as well.
 */
function hasPlace(queue: Queue, { plan }: Live, parts: QueueParts): boolean {
  const { runningMax, runningForRootMin } = parts.limits;
  const { ownerUid } = plan;
  if (isRoots(plan)) return queue.running.size < runningMax;
  const places = runningMax - runningForRootMin;
  if (queue.running.size >= places) return false;
  const account = parts.accountOf(ownerUid);
  const mine = [...queue.running.keys()].filter((id) => {
    const owner = queue.open.get(id)?.plan.ownerUid;
    return owner !== undefined && parts.accountOf(owner) === account;
  });
  return mine.length < Math.max(1, Math.floor(places / 2));
}

/** Open changes that run, are stuck, or stand before `id` in the queue: not those that wait for a place, which may take long. */
function before(queue: Queue, id: number, parts: QueueParts): Holder[] {
  return [...queue.open.values()]
    .filter((one) => one.id !== id)
    .filter((one) => one.status !== 'queued' || (one.id < id && hasPlace(queue, one, parts)))
    .map((one) => ({ id: one.id, holds: one.plan.holds }));
}

function mayStart(queue: Queue, live: Live, parts: QueueParts): boolean {
  if (!hasPlace(queue, live, parts)) return false;
  return blocker(live.plan.holds, before(queue, live.id, parts)) === undefined;
}

/** Throws when the owner, or all owners together, have too many open changes; keeps places for root. */
export function checkPlaces(queue: Queue, plan: Plan, parts: QueueParts): void {
  const { changesMax, changesForRootMin, changesPerOwnerMax } = parts.limits;
  const isRoot = isRoots(plan);
  const total = isRoot ? changesMax : changesMax - changesForRootMin;
  if (queue.open.size >= total) throw new PersonaError('too-many-requests', { limit: total });
  if (isRoot) return;
  const account = parts.accountOf(plan.ownerUid);
  let mine = 0;
  for (const one of queue.open.values())
    if (parts.accountOf(one.plan.ownerUid) === account) mine += 1;
  if (mine >= changesPerOwnerMax)
    throw new PersonaError('too-many-requests', { limit: changesPerOwnerMax });
}

/** Throws `change-conflict` for what could never start by itself, or was asked not to wait. */
export function checkHolders(queue: Queue, plan: Plan, parts: QueueParts): void {
  const found = blocker(plan.holds, before(queue, Number.POSITIVE_INFINITY, parts));
  if (found === undefined) return;
  const holder = queue.open.get(found.holder.id);
  const stuck = holder !== undefined && isStuck(holder.status);
  if (!stuck && plan.conflict !== 'refuse') return;
  throw new PersonaError('change-conflict', {
    change: found.holder.id,
    what: found.thing,
    ...(stuck ? { reason: 'it is stuck' } : {}),
  });
}

/**
 * Journals a new change and starts it, or leaves it queued. Takes its places before it waits. `written` is settled when the
 * journal has it: what leaves nothing behind before its first commit runs meanwhile.
 */
export async function enter(
  queue: Queue,
  plan: Plan,
  parts: QueueParts,
): Promise<{ live: Live; written: Promise<void> }> {
  if (queue.lastId === undefined) throw new PersonaError('internal', 'the engine did not recover');
  queue.lastId += 1;
  const live = newLive(queue.lastId, plan, parts.now());
  const starts = mayStart(queue, live, parts);
  queue.open.set(live.id, live);
  if (starts) {
    live.status = nextChange(live.status, 'start');
    parts.began?.(plan.kind);
  }
  const create = { step: 'create' as const };
  const begin = starts ? [{ step: 'start' as const }, ...declare(live, 0, parts.kinds)] : [];
  const entry = {
    changeId: live.id,
    create: plan,
    events: [create, ...begin],
    status: live.status,
  };
  if (starts && writtenWithNext(live, parts.kinds)) {
    const written = parts.journal.appendWithNext(entry);
    launch(queue, live, parts);
    return { live, written };
  }
  const intent = Promise.withResolvers<void>();
  if (starts) queue.running.set(live.id, intent.promise);
  try {
    await parts.journal.append(entry);
  } catch (error) {
    // At once, so that no other change comes in.
    parts.broken(error);
    queue.open.delete(live.id);
    queue.running.delete(live.id);
    throw error;
  } finally {
    intent.resolve();
  }
  if (starts) launch(queue, live, parts);
  else startQueued(queue, parts);
  return { live, written: Promise.resolve() };
}

/** Runs a journalled change to its end, then starts what waited for it. */
export function launch(queue: Queue, live: Live, parts: QueueParts): void {
  const work = run(live, parts).then(() => {
    queue.running.delete(live.id);
    if (isEnded(live.status)) queue.open.delete(live.id);
    settle(live, parts);
    parts.ended?.();
    if (live.id % pruneEvery === 0)
      parts.journal.prune(parts.limits.historyMax).catch((err: unknown) => {
        parts.log.warn({ err }, 'cannot prune the history of changes, ignoring');
      });
    startQueued(queue, parts);
  });
  queue.running.set(live.id, work);
}

/** Ended changes are forgotten once per so many. */
const pruneEvery = 100;

/** Starts every queued change that nothing stands in the way of, oldest first; when none is started any more whoever waits for one is told. */
export function startQueued(queue: Queue, parts: QueueParts): void {
  if (queue.refusal !== undefined) {
    answerQueued(queue, queue.refusal);
    return;
  }
  for (const live of queue.open.values()) {
    if (live.status !== 'queued' || !mayStart(queue, live, parts)) continue;
    live.status = nextChange(live.status, 'start');
    parts.began?.(live.plan.kind);
    const events = [{ step: 'start' as const }, ...declare(live, 0, parts.kinds)];
    const started = parts.journal.append({ changeId: live.id, events, status: live.status }).then(
      () => launch(queue, live, parts),
      (error: unknown) => {
        queue.running.delete(live.id);
        // As the journal has it.
        live.status = 'queued';
        parts.broken(error);
      },
    );
    queue.running.set(live.id, started);
  }
}

/** The changes themselves stay queued: whoever can still write the journal ends them, at the latest the next start. */
function answerQueued(queue: Queue, reason: string): void {
  const error = failureOf(new PersonaError('daemon-degraded', { reason }));
  for (const live of queue.open.values())
    if (live.status === 'queued') live.ended.resolve({ ...resultOf(live), error });
}
