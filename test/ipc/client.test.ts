import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { connect } from '../../ipc/client.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Of those who wait to be accepted, at most. */
const backlog = 4;

test('where so many connect at once that there is no place, one waits for it', async (t) => {
  const path = join(temporaryFolder(t), 'full.sock');
  const code = `require('node:net').createServer().listen({ path: process.argv[1], backlog: ${backlog} }, () => console.log('listens'))`;
  const server = spawn(process.execPath, ['-e', code, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => server.kill('SIGKILL'));
  await once(server.stdout, 'data');
  server.kill('SIGSTOP');
  const others: Socket[] = [];
  t.teardown(() => {
    for (const one of others) one.destroy();
  });
  let refused: NodeJS.ErrnoException | undefined;
  while (refused === undefined && others.length < 100) {
    const one = createConnection(path);
    others.push(one);
    refused = await new Promise((resolve) => {
      one.once('connect', () => resolve(undefined)).once('error', resolve);
    });
  }
  t.is(refused?.code, 'EAGAIN');
  const asked = connect([path]);
  server.kill('SIGCONT');
  const client = await asked;
  t.is(client.path, path);
  client.close();
});
