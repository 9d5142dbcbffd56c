import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { isListening, listenAt, stopListening } from '../../../daemon/kernel/listen.ts';
import { when } from '../../support/needs.ts';

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'persona-listen-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Leaves the socket of a process that was killed. */
async function deadSocket(path: string): Promise<void> {
  const program = `require('net').createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,9))`;
  await once(spawn(process.execPath, ['-e', program]), 'exit');
}

when(test, { root: true })('listenAt() sets group and mode before the path exists', async (t) => {
  const folder = folderOf(t);
  const path = join(folder, 's.sock');
  const mask = process.umask();
  const server = await listenAt(path, { mode: 0o660, gid: 4242 }, (socket) => socket.end('x'));
  t.teardown(() => stopListening(server, path));
  const stat = statSync(path);
  t.is(stat.mode & 0o7777, 0o660);
  t.is(stat.gid, 4242);
  t.is(process.umask(), mask);
  t.deepEqual(readdirSync(folder), ['s.sock']);
  t.true(await isListening(path));
});

test('listenAt() replaces the socket of a dead daemon, never that of a live one', async (t) => {
  const path = join(folderOf(t), 's.sock');
  await deadSocket(path);
  t.true(existsSync(path));
  const server = await listenAt(path, { mode: 0o600 }, (socket) => socket.end());
  t.teardown(() => stopListening(server, path));
  const { ino } = statSync(path);
  await t.throwsAsync(
    listenAt(path, { mode: 0o600 }, () => {}),
    { code: 'already-running' },
  );
  t.is(statSync(path).ino, ino);
  t.true(await isListening(path));
});

test('listenAt() leaves alone what is no socket', async (t) => {
  const path = join(folderOf(t), 's.sock');
  writeFileSync(path, 'precious');
  await t.throwsAsync(
    listenAt(path, { mode: 0o600 }, () => {}),
    { code: 'already-exists' },
  );
  t.is(statSync(path).size, 8);
});

test('stopListening() removes the socket file', async (t) => {
  const path = join(folderOf(t), 's.sock');
  const server = await listenAt(path, { mode: 0o600 }, (socket) => socket.end());
  stopListening(server, path);
  t.false(existsSync(path));
  t.false(await isListening(path));
});
