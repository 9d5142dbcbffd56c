import { createConnection, type Socket } from 'node:net';
import { fromWire, PersonaError, type WireError } from './errors.ts';
import type { Answer, MethodName, Params } from './methods/index.ts';
import type { ChangeEvent } from './methods/shapes.ts';
import { delimiter } from './protocol.ts';

/** How a call is made. */
export interface CallOptions {
  /** Hears the events of the change that the call starts or follows. */
  onEvent?: (event: ChangeEvent) => void;
}

/** One connection to the daemon. */
export interface Client {
  /** Which socket it uses. */
  readonly path: string;
  call<M extends MethodName>(
    method: M,
    params: Params<M>,
    options?: CallOptions,
  ): Promise<Answer<M>>;
  /** Hears a change until it has ended or is stuck; answers its last event. */
  follow(change: number, onEvent: (event: ChangeEvent) => void): Promise<ChangeEvent>;
  /** Ends the connection. Changes that were accepted go on. */
  close(): void;
}

interface Waiting {
  resolve(result: never): void;
  reject(error: unknown): void;
  onEvent: ((event: ChangeEvent) => void) | undefined;
  /** Events come after the answer, too. */
  follows: boolean;
}

/** Longest wait for the connection itself. */
const connectTimeoutMs = 5000;
/** Between two tries while there is no place for one more who waits to be accepted. */
const fullWaitMs = 50;
/** Largest frame that is accepted from the daemon, in characters. */
const frameCharsMax = 8 * 1024 * 1024;

interface Frame {
  type: string;
  data: { id: number; result?: unknown; error?: WireError; event?: ChangeEvent };
}

/** Splits what comes in into frames. A frame longer than the limit ends the connection. */
function readFrames(socket: Socket, deliver: (frame: Frame) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const frames = (rest + chunk).split(delimiter);
    rest = frames.pop() ?? '';
    if (rest.length > frameCharsMax) socket.destroy();
    for (const frame of frames) deliver(JSON.parse(frame) as Frame);
  });
}

/** Connects to one socket. Rejects with the system's error. So many may connect at once that there is no place for a moment. */
async function connectTo(path: string): Promise<Socket> {
  for (let leftMs = connectTimeoutMs; ; leftMs -= fullWaitMs) {
    try {
      return await connectOnce(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || leftMs <= 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, fullWaitMs));
    }
  }
}

function connectOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.setTimeout(connectTimeoutMs, () =>
      socket.destroy(new PersonaError('timed-out', { what: 'connecting' })),
    );
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** Connects to the first of `paths` that lets us in. Throws `daemon-not-running`. */
async function connectFirst(paths: readonly string[]): Promise<{ socket: Socket; path: string }> {
  let last: unknown;
  for (const path of paths) {
    try {
      return { socket: await connectTo(path), path };
    } catch (error) {
      last = error;
    }
  }
  const denied = (last as NodeJS.ErrnoException)?.code === 'EACCES';
  if (denied) throw new PersonaError('permission-denied', { reason: 'no access to the socket' });
  if ((last as NodeJS.ErrnoException)?.code === 'EAGAIN')
    throw new PersonaError('timed-out', { what: 'connecting' });
  throw new PersonaError('daemon-not-running', { socket: paths.at(-1) }, { cause: last });
}

/**
 * Connects to the daemon: to the control socket where the caller may, else to the one for everybody.
 * Throws `daemon-not-running` with the hint how to start it.
 */
export async function connect(paths: readonly string[]): Promise<Client> {
  const { socket, path } = await connectFirst(paths);
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  const failAll = (error: unknown) => {
    for (const one of waiting.values()) one.reject(error);
    waiting.clear();
  };
  socket.on('error', () => {});
  socket.on('close', () => failAll(new PersonaError('connection-lost')));
  readFrames(socket, ({ type, data }) => {
    const one = waiting.get(data.id);
    if (one === undefined) return;
    if (type === 'event') return void (data.event && one.onEvent?.(data.event));
    if (data.error || !one.follows) waiting.delete(data.id);
    if (data.error) one.reject(fromWire(data.error));
    else one.resolve(data.result as never);
  });
  const send = (method: string, params: unknown, one: Waiting) => {
    if (socket.destroyed) return one.reject(new PersonaError('connection-lost'));
    lastId += 1;
    waiting.set(lastId, one);
    socket.write(JSON.stringify({ type: method, data: { id: lastId, params } }) + delimiter);
  };
  return {
    path,
    call: (method, params, { onEvent } = {}) =>
      new Promise((resolve, reject) =>
        send(method, params, { resolve, reject, onEvent, follows: false }),
      ),
    follow: (change, onEvent) =>
      new Promise((resolve, reject) => {
        const hear = (event: ChangeEvent) => {
          onEvent(event);
          if (isOver(event.status)) resolve(event);
        };
        const answered = (answer: Answer<'change.follow'>) => {
          const { id, status, error, result } = answer.change;
          if (isOver(status)) hear({ changeId: id, status, error, result });
        };
        const one = { resolve: answered, reject, onEvent: hear, follows: true };
        send('change.follow', { change }, one);
      }),
    close: () => socket.destroySoon(),
  };
}

/** True when a change will not go on by itself. */
export function isOver(status: ChangeEvent['status']): boolean {
  return ['done', 'failed', 'aborted'].includes(status) || status.startsWith('stuck');
}

/** The two sockets below a run folder, the stronger first. */
export function socketPaths(runFolder: string): string[] {
  return [`${runFolder}/control.sock`, `${runFolder}/user.sock`];
}
