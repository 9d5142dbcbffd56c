import { spawn } from 'node:child_process';
import { lstatSync, openSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { temporaryFolder } from '../../support/temp.ts';

const program = fileURLToPath(new URL('./passed-sockets-child.ts', import.meta.url));

/** A socket that listens, as a service manager has it: with its file and its descriptor. */
async function listener(
  t: ExecutionContext,
  path: string,
): Promise<{ server: Server; fd: number }> {
  const server = createServer((socket) => socket.destroy());
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { server, fd: (server as unknown as { _handle: { fd: number } })._handle.fd };
}

/** Runs the child with these descriptors; its lines, parsed. */
function take(t: ExecutionContext, fds: readonly number[], ...args: string[]) {
  const child = spawn(process.execPath, ['--no-warnings', program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', ...fds],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => JSON.parse((await lines.next()).value ?? 'null');
}

/** What is said to a caller. */
function called(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const client = createConnection(path).on('error', reject);
    client.on('data', (piece) => {
      text += String(piece);
    });
    client.on('close', () => resolve(text));
  });
}

const variables = (more: object) =>
  JSON.stringify({ LISTEN_FDS: '1', LISTEN_FDNAMES: 'user', ...more });

test('sockets are taken by name, and the variables go', async (t) => {
  const folder = temporaryFolder(t);
  const [user, control] = [join(folder, 'user.sock'), join(folder, 'control.sock')];
  const fds = [(await listener(t, user)).fd, (await listener(t, control)).fd];
  const next = take(t, fds, variables({ LISTEN_FDS: '2', LISTEN_FDNAMES: 'user:control' }));
  t.deepEqual(await next(), {
    passed: [
      ['user', { fd: 3, path: user }],
      ['control', { fd: 4, path: control }],
    ],
    left: [],
  });
});

test('what was passed to another process is not taken', async (t) => {
  const { fd } = await listener(t, join(temporaryFolder(t), 'user.sock'));
  t.deepEqual(await take(t, [fd], variables({ LISTEN_PID: '1' }))(), { passed: [], left: [] });
});

test('only listening Unix sockets are taken, each name once, not too many', async (t) => {
  const { fd } = await listener(t, join(temporaryFolder(t), 'user.sock'));
  const file = openSync('/dev/null', 'r');
  t.regex((await take(t, [file], variables({}))()).message, /ENOTSOCK/);
  const tcp = createServer();
  t.teardown(() => tcp.close());
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const tcpFd = (tcp as unknown as { _handle: { fd: number } })._handle.fd;
  t.like(await take(t, [tcpFd], variables({}))(), { code: 'bad-config' });
  const twice = { LISTEN_FDS: '2', LISTEN_FDNAMES: 'user:user' };
  t.like(await take(t, [fd, fd], variables(twice))(), { code: 'bad-config' });
  t.like(await take(t, [], variables({ LISTEN_FDS: '9' }))(), { code: 'bad-config' });
  t.like(await take(t, [], variables({ LISTEN_FDS: 'x' }))(), { code: 'bad-config' });
});

test('a passed socket is served, and its file stays', async (t) => {
  const path = join(temporaryFolder(t), 'user.sock');
  const { fd } = await listener(t, path);
  const { ino } = lstatSync(path);
  const next = take(t, [fd], variables({}), path);
  await next();
  t.is(await next(), 'listening');
  // The parent accepts on the same queue and hangs up: who called it calls again.
  let said = '';
  while (said === '') said = await called(path);
  t.is(said, 'served');
  t.is(lstatSync(path).ino, ino);
});

test('a socket that listens elsewhere is refused', async (t) => {
  const folder = temporaryFolder(t);
  const { fd } = await listener(t, join(folder, 'elsewhere.sock'));
  const next = take(t, [fd], variables({}), join(folder, 'user.sock'));
  await next();
  t.like(await next(), { code: 'bad-config' });
});
