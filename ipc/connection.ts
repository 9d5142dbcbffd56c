import type { Socket } from 'node:net';
import type { WireLimits } from './protocol.ts';

/** Who calls: as the kernel recorded it when the connection was made, and through which socket. */
export interface Caller {
  pid: number;
  uid: number;
  gid: number;
  /** Supplementary groups. */
  groups: readonly number[];
  socket: 'user' | 'control';
}

/** What the server remembers of one framed connection. Times are milliseconds of one clock. */
export interface Connection {
  readonly socket: Socket;
  readonly caller: Caller;
  /** Requests that are not answered yet. */
  open: number;
  /** Changes followed. */
  follows: number;
  refusals: number;
  /** The peer has ended its side: end ours after the last answer. */
  ended: boolean;
  lastFrameMs: number;
  /** Since when the frame that is coming in has been coming. */
  partialSinceMs: number | undefined;
  /** Pending bytes at the last look, and since when they have not become fewer. */
  pendingBytes: number;
  pendingSinceMs: number | undefined;
  /** Aborted when the connection is gone, with the error of its socket if there was one; made on first use. */
  gone: AbortController | undefined;
}

/** A new connection as of `nowMs`. */
export function newConnection(socket: Socket, caller: Caller, nowMs: number): Connection {
  return {
    socket,
    caller,
    open: 0,
    follows: 0,
    refusals: 0,
    ended: false,
    lastFrameMs: nowMs,
    partialSinceMs: undefined,
    pendingBytes: 0,
    pendingSinceMs: undefined,
    gone: undefined,
  };
}

/** Why a connection has to be cut off at `nowMs`, or undefined while it behaves. */
export function overdue(
  connection: Connection,
  nowMs: number,
  limits: WireLimits,
): 'half a frame' | 'idle' | 'not reading' | undefined {
  const { partialSinceMs, open, follows, lastFrameMs } = connection;
  if (partialSinceMs !== undefined && nowMs - partialSinceMs > limits.frameTimeoutMs)
    return 'half a frame';
  const pending = connection.socket.writableLength;
  if (pending === 0 || pending < connection.pendingBytes) connection.pendingSinceMs = undefined;
  else connection.pendingSinceMs ??= nowMs;
  connection.pendingBytes = pending;
  const { pendingSinceMs } = connection;
  if (pendingSinceMs !== undefined && nowMs - pendingSinceMs > limits.stallTimeoutMs)
    return 'not reading';
  const busy = open > 0 || follows > 0;
  return !busy && nowMs - lastFrameMs > limits.idleTimeoutMs ? 'idle' : undefined;
}

/** The connection is gone: tells whoever asked to hear of it. */
export function tellGone({ gone, socket }: Connection): void {
  gone?.abort(socket.errored ?? undefined);
}
