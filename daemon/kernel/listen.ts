import { chmodSync, chownSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { PassedSocket } from './passed-sockets.ts';

/** Longest wait for the answer of whoever listens at the path already. */
const probeTimeoutMs = 2000;

/** Who may connect. */
export interface SocketMode {
  mode: number;
  /** Group of the socket file; that of the process when absent. */
  gid?: number | undefined;
}

/** True when a process accepts connections at `path`. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.setTimeout(probeTimeoutMs);
    const say = (alive: boolean) => {
      probe.destroy();
      resolve(alive);
    };
    probe.once('connect', () => say(true));
    // A full backlog or no answer in time is somebody, too: only a refusal is nobody.
    probe.once('timeout', () => say(true));
    probe.once('error', (error: NodeJS.ErrnoException) =>
      say(!['ECONNREFUSED', 'ENOENT'].includes(error.code ?? '')),
    );
  });
}

/**
 * Throws unless a socket may be made at `path`: `already-running` when a live process listens there, `already-exists`
 * when something else than a socket has the name.
 */
export async function checkFree(path: string): Promise<void> {
  if (await isListening(path)) throw new PersonaError('already-running', { path });
  try {
    if (!lstatSync(path).isSocket())
      throw new PersonaError('already-exists', { what: path, reason: 'it is not a socket' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Connections are half-open: their owner ends its own side. */
function serverFor(accepted: (socket: Socket) => void): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    // Without a listener the reset of one peer would end the process.
    socket.on('error', () => socket.destroy());
    accepted(socket);
  });
}

function untilListening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Listens on a Unix socket. The file is made under another name for root alone, gets group and mode,
 * and is then renamed to `path`: nobody ever sees it with wider permissions, and the socket of a dead
 * daemon is replaced in one step. Throws as `checkFree` does.
 */
export async function listenAt(
  path: string,
  { mode, gid }: SocketMode,
  accepted: (socket: Socket) => void,
): Promise<Server> {
  await checkFree(path);
  const fresh = join(dirname(path), `.${basename(path)}.${process.pid}`);
  const server = serverFor(accepted);
  const listening = untilListening(server);
  // The file is bound inside listen(), so the mask of the process changes for this call only.
  const mask = process.umask(0o177);
  try {
    server.listen(fresh);
  } finally {
    process.umask(mask);
  }
  await listening;
  if (gid !== undefined) chownSync(fresh, 0, gid);
  chmodSync(fresh, mode);
  renameSync(fresh, path);
  return server;
}

/** Stops listening and removes the socket file, if it is still ours. Open connections stay. */
export function stopListening(server: Server, path: string): void {
  server.close();
  try {
    unlinkSync(path);
  } catch {
    // Gone already: nothing to remove.
  }
}

/**
 * Accepts on a socket that the service manager passed, instead of making one at `path`. Its file, mode and group are its
 * unit's. Closing the server leaves it to the manager: who connects meanwhile waits for the next daemon. Throws
 * `bad-config` when it listens elsewhere.
 */
export async function listenOn(
  passed: PassedSocket,
  path: string,
  accepted: (socket: Socket) => void,
): Promise<Server> {
  if (passed.path !== path)
    throw new PersonaError('bad-config', {
      file: 'the socket units',
      reason: `one listens at ${passed.path} instead of ${path}`,
    });
  const server = serverFor(accepted);
  const listening = untilListening(server);
  server.listen({ fd: passed.fd });
  await listening;
  return server;
}
