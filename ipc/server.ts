import type { Socket } from 'node:net';
import {
  type Asked,
  answer,
  type CallContext,
  type Core,
  endWhenDone,
  readRequest,
  refuse,
} from './calls.ts';
import { type Caller, type Connection, newConnection, overdue, tellGone } from './connection.ts';
import { PersonaError } from './errors.ts';
import { greet } from './greeting.ts';
import type { Method } from './method.ts';
import { type WireLimits, wireLimits } from './protocol.ts';
import { limitReports } from './reports.ts';
import { createTransport } from './transport.ts';
import { createUsage } from './usage.ts';

/** What the daemon gives to the server. */
export interface ServerOptions {
  methods: Readonly<Record<string, Method>>;
  /** Does the work. `params` are checked; the result will be. */
  call(method: string, params: unknown, context: CallContext): Promise<unknown>;
  /** Takes over a raw connection that presented a ticket; `rest` is what came behind it. */
  bulk(socket: Socket, ticket: string, caller: Caller, rest: Buffer): void;
  /** Hears of who gets no answer, as there are too many: of a connection it is not known what for. `params` are not checked. */
  refused?: (caller: Caller, asked?: Asked) => void;
  /** A faulty peer or handler, for the log. */
  report(what: string, facts: Record<string, unknown>): void;
  limits?: Partial<WireLimits>;
  /** The owner of a subordinate uid; the uid itself when absent. */
  ownerOf?: (uid: number) => number;
  /** Milliseconds that never go back. */
  now: () => number;
}

/** Serves accepted sockets. */
export interface WireServer {
  /** Takes over an accepted socket whose peer is known. */
  accept(socket: Socket, caller: Caller): void;
  /** Connections now, of both kinds. */
  connections(): number;
  /** Lets open requests finish for at most `graceMs`, then cuts everything off. */
  close(graceMs: number): Promise<void>;
}

/** How often `close` looks whether the open requests have ended. */
const closePollMs = 20;

/** Cuts off whoever is overdue, once per `sweepMs` while there is anyone. */
function createSweeper(core: Core, connections: Map<Socket, Connection>) {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
  };
  const sweep = () => {
    const at = core.now();
    for (const connection of connections.values()) {
      const why = overdue(connection, at, core.limits);
      if (why === undefined) continue;
      const { uid, pid } = connection.caller;
      core.report(uid, 'a peer was cut off', { why, pid });
      connection.socket.destroy();
    }
    for (const deadline of core.deadlines) if (at > deadline.atMs) deadline.late();
    if (connections.size === 0 && core.deadlines.size === 0) stop();
  };
  const start = () => {
    timer ??= setInterval(sweep, core.limits.sweepMs).unref();
  };
  return { start, stop };
}

/** Starts to read frames. `first` is what was read to find out that they are frames. */
function readFrames(core: Core, connection: Connection, first: Buffer): void {
  const { socket } = connection;
  socket.unshift(first);
  core.transport.attach(socket);
  // Behind the reader's own listener: what is left now is an unfinished frame.
  socket.on('data', () => {
    if (core.transport.partial(socket) === 0) connection.partialSinceMs = undefined;
    else connection.partialSinceMs ??= core.now();
  });
  socket.on('end', () => {
    connection.ended = true;
    endWhenDone(connection);
  });
  socket.on('close', () => tellGone(connection));
  socket.resume();
}

/** The server side of the contract: limits first, then frames, then checked calls. */
export function createServer(options: ServerOptions): WireServer {
  const { methods, call, now, bulk } = options;
  const report = limitReports(options.report, now);
  const limits = { ...wireLimits, ...options.limits };
  const usage = createUsage(limits, options.ownerOf ?? ((uid) => uid));
  const connections = new Map<Socket, Connection>();
  const greeting = new Set<() => void>();
  let closing = false;

  const transport = createTransport(new Set(Object.keys(methods)), limits, {
    frame(socket, name, data) {
      const connection = connections.get(socket);
      const request = readRequest(data);
      if (!connection || !request) return void socket.destroy();
      connection.lastFrameMs = now();
      connection.partialSinceMs = undefined;
      if (closing) return refuse(core, connection, request.id, new PersonaError('daemon-stopping'));
      void answer(core, connection, name, request);
    },
    unknown(socket, method, data) {
      const connection = connections.get(socket);
      const request = readRequest(data);
      if (connection && request)
        refuse(core, connection, request.id, new PersonaError('unknown-method', { method }));
      socket.destroySoon();
    },
  });
  const deadlines: Core['deadlines'] = new Set();
  const { refused } = options;
  const core: Core = { methods, limits, transport, usage, deadlines, call, refused, report, now };
  const sweeper = createSweeper(core, connections);

  const frames = (socket: Socket, caller: Caller, first: Buffer) => {
    const connection = newConnection(socket, caller, now());
    connections.set(socket, connection);
    socket.on('close', () => connections.delete(socket));
    sweeper.start();
    readFrames(core, connection, first);
  };

  return {
    accept(socket, caller) {
      socket.on('error', () => socket.destroy());
      if (closing) return void socket.destroy();
      if (!usage.connect(caller.uid)) {
        refused?.(caller);
        return void socket.destroy();
      }
      const giveUp = greet(socket, caller, limits.frameTimeoutMs, { frames, raw: bulk });
      greeting.add(giveUp);
      socket.once('close', () => {
        greeting.delete(giveUp);
        usage.disconnect(caller.uid);
      });
    },
    connections: () => usage.total(),
    async close(graceMs) {
      closing = true;
      const until = now() + graceMs;
      const busy = () => [...connections.values()].some((one) => one.open > 0);
      while (busy() && now() < until) await new Promise((next) => setTimeout(next, closePollMs));
      sweeper.stop();
      for (const giveUp of greeting) giveUp();
      transport.close();
    },
  };
}
