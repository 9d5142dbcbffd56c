import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';

/** A raw connection that has presented a ticket. */
export interface Raw {
  socket: Socket;
  /** All bytes until the daemon ends its side. */
  all(): Promise<Buffer>;
  /** Waits for the first line. */
  line(): Promise<string>;
}

/** Presents `ticket` on the control socket below `run`. */
export async function present(t: ExecutionContext, run: string, ticket: string): Promise<Raw> {
  const socket = createConnection({ path: `${run}/control.sock`, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.once('end', () => socket.end());
  await once(socket, 'connect');
  socket.write(`TICKET ${ticket}\n`);
  return {
    socket,
    async all() {
      await ended;
      return Buffer.concat(chunks);
    },
    async line() {
      while (!Buffer.concat(chunks).includes(10) && !socket.destroyed)
        await Promise.race([once(socket, 'data').catch(() => {}), ended]);
      return Buffer.concat(chunks).toString('latin1').split('\n')[0] ?? '';
    },
  };
}
