// The package ships no types: this is what ipc/transport.ts uses of it, and nothing more.
declare module 'node-ipc' {
  import type { Socket } from 'node:net';

  /** A socket after `addSocket`: the server keeps the text of an unfinished frame on it. */
  export interface FramedSocket extends Socket {
    ipcBuffer?: string;
  }

  export interface Server {
    sockets: Socket[];
    on(type: string, handler: (data: unknown, socket: FramedSocket) => void): void;
    addSocket(socket: Socket): void;
    /** Writes a frame. False: the pending bytes are above the socket's mark. */
    emit(socket: Socket, type: string, data: unknown): boolean;
    stop(): void;
  }

  export class IPCModule {
    config: Record<string, unknown>;
    server: Server;
    serve(path: string, started: () => void): void;
  }
}

declare module 'node-ipc/parsers' {
  export class IPCProtocolError extends Error {
    constructor(code: string, message: string);
    code: string;
  }

  export class AssuredParser {
    constructor(config: Record<string, unknown>);
    profile: string;
    delimiter: string;
    maxPendingBytes: number;
    maxMessageSize: number;
    encode(type: string, data: unknown): string;
    read(buffer: string, data: string, receive: (message: unknown) => void): string;
    decodeMessage(frame: string): { type: string; data?: unknown };
  }
}
