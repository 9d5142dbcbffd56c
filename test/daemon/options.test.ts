import { spawnSync } from 'node:child_process';
import { lstatSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { temporaryFolder } from '../support/temp.ts';

const program = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));

const personad = (...args: string[]) =>
  spawnSync(process.execPath, ['--no-warnings', program, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });

test('options that are none, or lack their word, are refused with the list', (t) => {
  for (const args of [['--frobnicate'], ['--check-socket'], ['--version', 'x'], ['__proto__']]) {
    const { status, stderr } = personad(...args);
    t.is(status, 2, args.join(' '));
    t.regex(stderr, /^usage: personad/);
  }
  t.is(personad('--help').status, 0);
  t.regex(personad('--version').stdout, /^personad \d/);
});

test('a path is free for a socket unless something else uses it', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'file');
  t.is(personad('--check-socket', file).status, 0);
  writeFileSync(file, 'mine');
  const foreign = personad('--check-socket', file);
  t.is(foreign.status, 6);
  t.regex(foreign.stderr, /it exists already/);
  t.is(readFileSync(file, 'utf8'), 'mine');
  const path = join(folder, 'live.sock');
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => server.close());
  const live = personad('--check-socket', path);
  t.is(live.status, 6);
  t.regex(live.stderr, /another daemon uses/);
  t.true(lstatSync(path).isSocket());
});

test('there may be nothing to restore', (t) => {
  t.is(personad('--restore').status, 0);
});
