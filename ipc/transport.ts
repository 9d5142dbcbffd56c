import type { Socket } from 'node:net';
import { IPCModule, type Server } from 'node-ipc';
import { AssuredParser, IPCProtocolError } from 'node-ipc/parsers';
import { PersonaError } from './errors.ts';
import { delimiter, type WireLimits } from './protocol.ts';

/** What the transport tells its owner. None of these may throw; a throw cuts the peer off. */
export interface Receiver {
  /** A whole frame of an allowed method. `data` is unchecked JSON. */
  frame(socket: Socket, method: string, data: unknown): void;
  /** A whole frame of something that is no method of ours; the peer is cut off after the answer. */
  unknown(socket: Socket, method: string, data: unknown): void;
}

/** Frames in and out of sockets that someone else accepted. */
export interface Transport {
  /** Lends an accepted socket to the frame reader. Its owner stays responsible for its limits. */
  attach(socket: Socket): void;
  /** Writes one frame; false when the socket is gone or now cut off. Throws `reply-too-large`. */
  send(socket: Socket, type: 'reply' | 'event', data: unknown): boolean;
  /** The text of an unfinished frame, in characters. */
  partial(socket: Socket): number;
  /** Cuts off every lent socket. */
  close(): void;
}

/** The one event under which every frame of an unknown method arrives. */
const unknownEvent = 'unknown-method';
/** What a method name may look like; anything else is garbage and cut off at once. */
const methodPattern = /^[a-z]{1,32}\.[a-z-]{1,32}$/;

/**
 * The strict parser of node-ipc with our own lists: only methods come in, only answers and events go
 * out, each way with a limit of its own.
 */
function parserFor(limits: WireLimits) {
  return class PersonaParser extends AssuredParser {
    override profile = 'persona';

    override encode(type: string, data: unknown): string {
      const frame = JSON.stringify({ type, data }) + delimiter;
      // UTF-8 takes at most three bytes per UTF-16 unit: only long frames need counting.
      if (
        frame.length * 3 > limits.replyBytesMax &&
        Buffer.byteLength(frame) > limits.replyBytesMax
      )
        throw new PersonaError('reply-too-large', { limit: limits.replyBytesMax });
      return frame;
    }

    override decodeMessage(frame: string): { type: string; data?: unknown } {
      try {
        return super.decodeMessage(frame);
      } catch (error) {
        if (!(error instanceof IPCProtocolError)) throw error;
        if (error.code !== 'ERR_IPC_EVENT_NOT_ALLOWED') throw error;
        const { type, data } = JSON.parse(frame) as { type: string; data?: unknown };
        if (!methodPattern.test(type)) throw error;
        return { type: unknownEvent, data: { method: type, data } };
      }
    }
  };
}

/**
 * Sets every option of node-ipc explicitly. It never listens: sockets come from a listener of our own,
 * which has read the peer's credentials. `methods` is the list of frame types that may come in.
 */
export function createTransport(
  methods: ReadonlySet<string>,
  limits: WireLimits,
  receiver: Receiver,
): Transport {
  const ipc = new IPCModule();
  Object.assign(ipc.config, {
    silent: true,
    logPayloads: false,
    logger: () => {},
    parser: parserFor(limits),
    allowedEvents: methods,
    allowReservedEvents: false,
    identifyPeer: false,
    rawBuffer: false,
    encoding: 'utf8',
    delimiter,
    maxMessageSize: limits.frameBytesMax,
    maxPendingBytes: limits.pendingBytesMax,
    maxEventNameLength: 80,
    // Its timer is not reset when a frame completes and cuts off busy peers: ours is in server.ts.
    messageTimeout: 0,
    unlink: false,
    maxConnections: limits.connectionsMax,
  });
  ipc.serve('/nonexistent/personad-listens-by-itself', () => {});
  const server: Server = ipc.server;
  const guarded = (socket: Socket, deliver: () => void) => {
    try {
      deliver();
    } catch {
      // A throw would leave node-ipc through the data event and end the daemon.
      socket.destroy();
    }
  };
  for (const method of methods)
    server.on(method, (data, socket) => {
      if (!socket.destroyed) guarded(socket, () => receiver.frame(socket, method, data));
    });
  server.on(unknownEvent, (message, socket) => {
    const { method, data } = message as { method: string; data: unknown };
    if (!socket.destroyed) guarded(socket, () => receiver.unknown(socket, method, data));
  });
  return {
    attach: (socket) => server.addSocket(socket),
    send(socket, type, data) {
      if (socket.writable) server.emit(socket, type, data);
      return !socket.destroyed;
    },
    partial: (socket) => (socket as { ipcBuffer?: string }).ipcBuffer?.length ?? 0,
    close: () => server.stop(),
  };
}
