import type { CallContext } from '../../ipc/calls.ts';
import { PersonaError } from '../../ipc/errors.ts';
import { apiVersion } from '../../ipc/methods/daemon.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { ChangeLine, SlotPage } from '../../ipc/methods/shapes.ts';
import type { ChangeView, Result } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import { isEnded, isStuck } from '../changes/status.ts';
import { failureError } from './changes.ts';
import type { Checked, OwnMethod, Request, Rooms } from './rooms.ts';
import type { Tickets } from './tickets.ts';

/** What the methods of the API itself work with. */
export interface OwnParts {
  version: string;
  engine: Engine;
  tickets: Tickets;
  rooms: Rooms;
}

/** Changes in a list when the caller names no limit. */
const listDefault = 50;
/** Changes on the status page. */
const statusChangesMax = 20;

type Own = {
  [M in OwnMethod]: (
    params: Checked<M>,
    request: Request,
    context: CallContext,
  ) => Promise<Answer<M>> | Answer<M>;
};

function lineOf(view: ChangeView): ChangeLine {
  const { id, kind, summary, ownerUid, status, createdMs, endedMs, error, tasks } = view;
  const progress = tasks.find((task) => task.status === 'doing')?.progress;
  return { id, kind, summary, ownerUid, status, createdMs, endedMs, error, progress };
}

/** A change as the contract has it. */
function pageOf({ holds, tasks, ...view }: ChangeView): Answer<'change.show'>['change'] {
  return { ...view, holds: [...holds], tasks: [...tasks] };
}

const sees = ({ caller }: Request, ownerUid: number) => caller.uid === 0 || caller.uid === ownerUid;

/** Owner filter for lists: undefined shows all. */
const filterOf = ({ caller }: Request) => (caller.uid === 0 ? undefined : caller.uid);

/** Another user's slot: that it is there, and whether it is in use. Nothing of what is in it. */
function slotsFor(request: Request, slots: SlotPage[]): SlotPage[] {
  return slots.filter((slot) => sees(request, slot.owner.uid));
}

/** Changes that run or wait for a person, the newest first; from memory, because everybody asks often. */
function openFor(engine: Engine, request: Request): ChangeView[] {
  const seen = engine.open().filter(({ ownerUid }) => sees(request, ownerUid));
  return seen.sort((a, b) => b.id - a.id).slice(0, statusChangesMax);
}

async function statusFor({ rooms, engine, version }: OwnParts, request: Request) {
  const { status } = rooms;
  const memory = status.memory();
  const running = status.running(filterOf(request));
  const pinned = status.pinned().filter(({ owner }) => sees(request, owner.uid));
  const inMemory = status.inMemory().filter(({ owner }) => sees(request, owner.uid));
  const [slots, counts, integrity, notices] = await Promise.all([
    status.slots(),
    status.counts(),
    status.integrity(),
    request.level === 'root' ? status.notices() : [],
  ]);
  return {
    apiVersion,
    daemon: { ...status.daemon(), version, pid: process.pid },
    machine: status.machine(),
    caller: { uid: request.caller.uid, access: request.level },
    slots: slotsFor(request, slots),
    changes: openFor(engine, request).map(lineOf),
    space: status.space(),
    ...(memory && { memory }),
    ...(inMemory.length > 0 && { inMemory }),
    ...(pinned.length > 0 && { pinned }),
    ...(running.applications.length > 0 && { running }),
    ...(integrity && { integrity }),
    counts,
    fallbacks: status.fallbacks(),
    notices,
  } satisfies Answer<'daemon.status'>;
}

/** Throws why a change has neither ended nor goes on: the journal cannot be written. */
function throwIfRests({ changeId, status, error }: Result): void {
  if (error !== undefined && !isEnded(status) && !isStuck(status))
    throw failureError(error, changeId);
}

async function followFor(
  { engine }: OwnParts,
  change: number,
  context: CallContext,
): Promise<Answer<'change.follow'>> {
  const page = pageOf(await engine.show(change));
  if (isEnded(page.status) || isStuck(page.status)) return { change: page };
  const reason = engine.refusing();
  // Nothing is started any more: of this one nothing would be heard.
  if (page.status === 'queued' && reason !== undefined)
    throw new PersonaError('daemon-degraded', { reason });
  const release = context.follow();
  let unfollow: () => void = release;
  const stop = () => {
    context.gone.removeEventListener('abort', stop);
    release();
    unfollow();
  };
  context.gone.addEventListener('abort', stop);
  try {
    const stopListening = await engine.follow(change, (event) => {
      // Behind the answer: the client knows the request by then.
      setImmediate(() => {
        if (!context.event(event)) stop();
        if (isEnded(event.status) || isStuck(event.status)) stop();
      });
    });
    unfollow = () => {
      stopListening();
    };
  } catch (error) {
    release();
    throw error;
  }
  return { change: page };
}

/** The methods that need no room. */
export function ownMethods(parts: OwnParts): Own {
  const { engine, tickets, rooms } = parts;
  const show = async (id: number) => ({ change: pageOf(await engine.show(id)) });
  return {
    'daemon.ping': () => ({ version: parts.version, apiVersion, pid: process.pid }),
    'daemon.status': (_, request) => statusFor(parts, request),
    'bulk.open': ({ direction, bytes }, { caller: { uid } }) => {
      if (direction === 'up') return tickets.forUpload(uid, bytes);
      return direction === 'secret' ? tickets.forSecret(uid) : tickets.forOutput(uid);
    },
    async 'persona.export'(params, request) {
      const { digest, fileName, bytes, open } = await rooms['persona.export'](params, request);
      const ticket = tickets.forDownload(request.caller.uid, { bytes, open });
      return { ticket, bytes, digest, fileName };
    },
    async 'change.list'({ all, limit = listDefault }, request) {
      const changes = await engine.list(limit, filterOf(request));
      return { changes: changes.filter((one) => all || !isEnded(one.status)).map(lineOf) };
    },
    'change.show': ({ change }) => show(change),
    'change.follow': ({ change }, _, context) => followFor(parts, change, context),
    async 'change.abort'({ change }) {
      throwIfRests(await engine.abort(change));
      return show(change);
    },
    async 'change.continue'({ change }) {
      throwIfRests(await engine.continue(change));
      return show(change);
    },
  };
}

/** The owner of a change, or undefined when there is none. */
export async function changeOwner(engine: Engine, id: number): Promise<number | undefined> {
  try {
    return (await engine.show(id)).ownerUid;
  } catch (error) {
    if (error instanceof PersonaError && error.code === 'change-not-found') return undefined;
    throw error;
  }
}
