import { checkEvent, checkParams, checkResult } from './check.ts';
import { type Caller, type Connection, tellGone } from './connection.ts';
import { PersonaError, toWire } from './errors.ts';
import type { Method } from './method.ts';
import type { Request, WireLimits } from './protocol.ts';
import type { Report } from './reports.ts';
import type { Transport } from './transport.ts';
import type { Usage } from './usage.ts';

/** What a handler may know and do besides its parameters. */
export interface CallContext {
  readonly caller: Caller;
  /** Sends an event to the request; false when the connection is gone. */
  event(event: unknown): boolean;
  /** Takes a place for something that outlives the answer; throws when the connection has too many. */
  follow(): () => void;
  /**
   * Aborted when the connection is gone. A change goes on then; whoever only watches it stops. The reason is EPIPE or ECONNRESET when the peer
   * went without having read the answer.
   */
  readonly gone: AbortSignal;
}

/** What somebody asked for, as he wrote it. */
export interface Asked {
  method: string;
  params: unknown;
}

/** What the calls of all connections share. */
export interface Core {
  methods: Readonly<Record<string, Method>>;
  limits: WireLimits;
  transport: Transport;
  usage: Usage;
  deadlines: Set<Deadline>;
  /** Does the work. `params` are checked; the result will be. */
  call(method: string, params: unknown, context: CallContext): Promise<unknown>;
  /** Hears of a caller who asked while he had too many requests open. `params` are not checked. */
  refused: ((caller: Caller, asked: Asked) => void) | undefined;
  /** A faulty peer or handler, for the log. */
  report: Report;
  /** Milliseconds that never go back. */
  now(): number;
}

/** Whom an answer goes to. */
type Peer = Pick<Connection, 'socket' | 'caller'>;

/** The request in a frame's data, or undefined when it is none. */
export function readRequest(data: unknown): Request | undefined {
  if (data === null || typeof data !== 'object') return undefined;
  const { id, params } = data as Partial<Request>;
  if (!Number.isSafeInteger(id)) return undefined;
  for (const key in data) if (key !== 'id' && key !== 'params') return undefined;
  return { id: id as number, params: params === undefined ? {} : params };
}

/** Answers a request with an error. */
export function refuse(core: Core, { socket, caller }: Peer, id: number, error: unknown): void {
  const wire = toWire(error);
  if (wire.code === 'internal') core.report(caller.uid, 'a call failed', { error });
  core.transport.send(socket, 'reply', { id, error: wire });
}

/** A call that has to end by `atMs`; the sweep tells it when it has not. */
export interface Deadline {
  atMs: number;
  late(): void;
}

/**
 * Rejects with `timed-out` when `work` has not settled in time; the work itself is not stopped. The
 * sweep looks once per `sweepMs`: a timer for each call would cost more than many calls do.
 */
async function inTime<T>(core: Core, work: Promise<T>, ms: number, what: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const late = () => reject(new PersonaError('timed-out', { what }));
  const deadline = { atMs: core.now() + ms, late };
  core.deadlines.add(deadline);
  work.then(resolve, reject);
  try {
    return await promise;
  } finally {
    core.deadlines.delete(deadline);
  }
}

/** Ends our side of a connection whose peer has ended its own, once nothing is left to say. */
export function endWhenDone({ ended, open, follows, socket }: Connection): void {
  if (ended && open === 0 && follows === 0) socket.end();
}

/** Takes a place, does the call, answers. Never rejects: whatever goes wrong becomes the answer. */
export async function answer(
  core: Core,
  connection: Connection,
  name: string,
  request: Request,
): Promise<void> {
  const { usage, limits, transport, now } = core;
  const { socket, caller } = connection;
  if (!usage.begin(caller.uid)) {
    connection.refusals += 1;
    core.refused?.(caller, { method: name, params: request.params });
    const limit = usage.requestsMax(caller.uid);
    refuse(core, connection, request.id, new PersonaError('too-many-requests', { limit }));
    if (connection.refusals >= limits.refusalsMax) socket.destroy();
    return;
  }
  connection.open += 1;
  const method = core.methods[name] as Method;
  let work: Promise<unknown> = Promise.resolve();
  try {
    const params = checkParams(method, request.params);
    work = core.call(name, params, new ServedCall(core, connection, request.id));
    // A change that is waited for has the deadlines of its tasks.
    const result =
      method.kind === 'change'
        ? await work
        : await inTime(core, work, method.timeoutMs ?? limits.callTimeoutMs, name);
    transport.send(socket, 'reply', { id: request.id, result: checkResult(name, method, result) });
  } catch (error) {
    refuse(core, connection, request.id, error);
    // A call that outran its deadline keeps its place until it is really over.
    await work.catch(() => {});
  }
  usage.end(caller.uid);
  connection.open -= 1;
  connection.lastFrameMs = now();
  endWhenDone(connection);
}

/** The context of one call. A class: an accessor in an object of its own costs as much as a small call. */
class ServedCall implements CallContext {
  readonly caller: Caller;
  readonly #core: Core;
  readonly #connection: Connection;
  readonly #id: number;

  constructor(core: Core, connection: Connection, id: number) {
    this.caller = connection.caller;
    this.#core = core;
    this.#connection = connection;
    this.#id = id;
  }

  event(event: unknown): boolean {
    const data = { id: this.#id, event: checkEvent(event) };
    return this.#core.transport.send(this.#connection.socket, 'event', data);
  }

  follow(): () => void {
    const [core, connection] = [this.#core, this.#connection];
    const limit = core.limits.followsMax;
    if (connection.follows >= limit) throw new PersonaError('too-many-requests', { limit });
    connection.follows += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      connection.follows -= 1;
      connection.lastFrameMs = core.now();
      endWhenDone(connection);
    };
  }

  get gone(): AbortSignal {
    const connection = this.#connection;
    connection.gone ??= new AbortController();
    if (connection.socket.destroyed) tellGone(connection);
    return connection.gone.signal;
  }
}
