import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Caller } from '../../ipc/connection.ts';
import { methods } from '../../ipc/methods/index.ts';
import type { WireLimits } from '../../ipc/protocol.ts';
import { createServer, type ServerOptions } from '../../ipc/server.ts';
import type { Engine } from '../changes/engine.ts';
import { runPlaces } from '../config/paths.ts';
import { listenAt, listenOn, type SocketMode, stopListening } from '../kernel/listen.ts';
import type { PassedSocket } from '../kernel/passed-sockets.ts';
import { peerOf } from '../kernel/peer.ts';
import { serveBulk } from './bulk.ts';
import { createDispatch } from './dispatch.ts';
import type { Rooms } from './rooms.ts';
import { type BulkLimits, bulkLimits, removeUnclaimed, Tickets } from './tickets.ts';

/** What the API needs to serve. */
export interface ApiParts {
  version: string;
  engine: Engine;
  rooms: Rooms;
  /** Folder of the sockets; it exists. */
  run: string;
  /** Folder of uploads; it exists, 0700. */
  staging: string;
  /** Group of the control socket; undefined when the machine has none: then it is root's alone. */
  groupGid: number | undefined;
  /** Where the service manager keeps credentials for this service, if it has any. */
  credentials?: string | undefined;
  /** Sockets that the service manager has opened already, `user` and `control`; made here when absent. */
  passed?: ReadonlyMap<string, PassedSocket> | undefined;
  /** The owner of a subordinate uid. */
  ownerOf(uid: number): number;
  /** Throws `no-space` when `bytes` more do not fit. */
  space(bytes: number): Promise<void> | void;
  /** Hears of every call. */
  called?: () => void;
  /** Hears of who gets no answer, as there are too many. */
  refused?: ServerOptions['refused'];
  /** A faulty peer or handler, for the log. */
  report(what: string, facts: Record<string, unknown>): void;
  wireLimits?: Partial<WireLimits>;
  bulkLimits?: Partial<BulkLimits>;
}

/** A serving API. */
export interface Api {
  connections(): number;
  /** Takes no more connections, lets open calls finish for at most `graceMs`, removes the sockets that are its own. */
  close(graceMs: number): Promise<void>;
}

/**
 * Opens the two sockets, or takes those that were passed. Throws `already-running` when another daemon listens on one of them; nothing
 * is left open then.
 */
export async function startApi(parts: ApiParts): Promise<Api> {
  const { run, staging, space, report, ownerOf, groupGid, engine, rooms, version } = parts;
  const limits = { ...bulkLimits, ...parts.bulkLimits };
  const now = () => Date.now();
  await removeUnclaimed(staging, engine);
  const tickets = new Tickets({ staging, limits, space, ownerOf, now });
  const dispatch = createDispatch({
    version,
    engine,
    tickets,
    rooms,
    groupGid,
    credentials: parts.credentials,
  });
  const server = createServer({
    methods,
    call(...request) {
      parts.called?.();
      return dispatch(...request);
    },
    bulk: (socket, ticket, caller, rest) =>
      void serveBulk(socket, ticket, caller, rest, { tickets, limits, space, report }),
    report,
    ...(parts.refused && { refused: parts.refused }),
    ownerOf,
    now: () => performance.now(),
    ...(parts.wireLimits ? { limits: parts.wireLimits } : {}),
  });
  const accept = (kind: Caller['socket']) => (socket: Socket) => {
    try {
      server.accept(socket, { ...peerOf(socket), socket: kind });
    } catch (error) {
      // Gone before it could be asked who it is.
      report('a peer without credentials', { error });
      socket.destroy();
    }
  };
  const stops: (() => void)[] = [];
  const stop = () => {
    for (const end of stops) end();
  };
  const open = async (kind: Caller['socket'], place: string, mode: SocketMode) => {
    const path = join(run, place);
    const passed = parts.passed?.get(kind);
    if (passed === undefined) {
      const server = await listenAt(path, mode, accept(kind));
      stops.push(() => stopListening(server, path));
    } else {
      const server = await listenOn(passed, path, accept(kind));
      stops.push(() => server.close());
    }
  };
  try {
    // Without the group the control socket is for root alone.
    const mode = groupGid === undefined ? 0o600 : 0o660;
    await open('control', runPlaces.controlSocket, { mode, gid: groupGid });
    await open('user', runPlaces.userSocket, { mode: 0o666 });
  } catch (error) {
    stop();
    throw error;
  }
  return {
    connections: () => server.connections(),
    async close(graceMs) {
      stop();
      await server.close(graceMs);
      await tickets.close();
    },
  };
}
