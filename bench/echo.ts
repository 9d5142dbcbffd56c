import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';

/** A server on the same runtime that gives back what it is sent: what a call costs before anything is done for it. */
export interface Echo {
  pid: number;
  /** Sends a line as long as a small request, and waits until it is back. */
  call(): Promise<void>;
  stop(): void;
}

const program = `require('node:net').createServer((socket) => socket.pipe(socket))
  .listen(process.argv[1], () => process.stdout.write('ready'));`;
const line = `${'x'.repeat(63)}\n`;

/** Starts it on the new socket `path`. */
export async function startEcho(path: string): Promise<Echo> {
  const child: ChildProcess = spawn(process.execPath, ['-e', program, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  const socket = createConnection(path);
  await once(socket, 'connect');
  let back: () => void = () => {};
  socket.on('data', () => back());
  return {
    pid: child.pid!,
    call: () =>
      new Promise((resolve) => {
        back = resolve;
        socket.write(line);
      }),
    stop() {
      socket.destroy();
      child.kill();
    },
  };
}
