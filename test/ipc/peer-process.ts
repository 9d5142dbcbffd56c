import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';

// A peer of another user: it gives up root first, then does what it was told and prints what came.

const [who = '', path = '', task = '', count = '1', body = ''] = process.argv.slice(2);
const [uid = '', groups = ''] = who.split(':');
process.setgroups?.(groups === '' ? [] : groups.split(',').map(Number));
process.setgid?.(Number(uid));
process.setuid?.(Number(uid));

async function open(): Promise<{ socket: Socket; text: () => string; closed: Promise<unknown> }> {
  const socket = createConnection(path);
  let text = '';
  let failure = '';
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failure = error.code ?? 'error';
  });
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const closed = once(socket, 'close').catch(() => {});
  await Promise.race([once(socket, 'connect').catch(() => {}), closed]);
  return { socket, text: () => text || failure, closed };
}

if (task === 'connect') {
  // Opens many connections, makes one call on each, one after the other.
  let served = 0;
  let refused = 0;
  for (let n = 0; n < Number(count); n += 1) {
    const { socket, text, closed } = await open();
    socket.write(body);
    await Promise.race([once(socket, 'data').catch(() => {}), closed]);
    if (text().includes('"result"')) served += 1;
    else refused += 1;
  }
  process.stdout.write(JSON.stringify({ served, refused }));
} else if (task === 'send') {
  // Sends one text on one connection and prints what came until the given number of frames.
  const { socket, text, closed } = await open();
  socket.write(body);
  while (text().split('\f').length <= Number(count) && !socket.destroyed)
    await Promise.race([once(socket, 'data').catch(() => {}), closed]);
  process.stdout.write(JSON.stringify({ text: text() }));
}
process.exit(0);
