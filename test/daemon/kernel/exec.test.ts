import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { diskUsageOf } from '../../../daemon/kernel/disk-usage.ts';
import {
  keepDescriptorsFromChildren,
  ProgramFailed,
  runProgram,
  startProgram,
} from '../../../daemon/kernel/exec.ts';
import { peerOf } from '../../../daemon/kernel/peer.ts';
import { confinedFilter, terminalFilter } from '../../../daemon/kernel/seccomp.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const program = (file: string, ...args: string[]) => ({ file, args, deadlineMs: 30_000 });

test('a program gets a clean environment, the root folder and no input', async (t) => {
  const { stdout } = await runProgram(program('/usr/bin/env'));
  t.deepEqual(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0])
      .sort(),
    ['LC_ALL', 'PATH', 'TZ'],
  );
  t.is((await runProgram(program('/bin/pwd'))).stdout, '/\n');
  t.is((await runProgram(program('/bin/cat'))).stdout, '');
  t.is((await runProgram({ ...program('/bin/cat'), input: 'x' })).stdout, 'x');
  await t.throwsAsync(runProgram(program('env')), { message: /internal error/ });
});

test('failures say how: status, deadline, too much output, not there', async (t) => {
  const failure = async (run: Promise<unknown>) =>
    (await t.throwsAsync(run, { instanceOf: ProgramFailed })) as ProgramFailed;
  t.is((await failure(runProgram(program('/bin/false')))).ended.status, 1);
  t.is((await runProgram({ ...program('/bin/false'), accept: [1] })).status, 1);
  t.true(
    (await failure(runProgram({ ...program('/bin/sleep', '100'), deadlineMs: 50 }))).ended.timedOut,
  );
  t.regex((await failure(runProgram(program('/usr/bin/yes')))).message, /more than allowed/);
  t.regex((await failure(runProgram(program('/nowhere/none')))).message, /ENOENT/);
  t.regex((await failure(runProgram(program('/bin/ls', '/nowhere')))).message, /cannot access/);
});

test('children see only their own descriptors, also while many run', async (t) => {
  keepDescriptorsFromChildren();
  const list = async () => {
    const child = await startProgram(program('/bin/bash', '-c', 'echo /proc/self/fd/*'), {
      pipes: 1,
    });
    let text = '';
    for await (const piece of child.stdout) text += String(piece);
    await child.done;
    return text.trim();
  };
  const seen = await Promise.all(Array.from({ length: 20 }, list));
  // 4 or 255: the folder that the shell reads.
  for (const name of seen.join(' ').split(' ')) t.regex(name, /\/(0|1|2|3|4|255)$/);
});

test('the peer of a socket is who the kernel says', async (t) => {
  const path = join(temporaryFolder(t), 's');
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  const [[accepted], client] = (await Promise.all([
    once(server, 'connection'),
    Promise.resolve(connect(path)),
  ])) as [[Socket], Socket];
  const peer = peerOf(accepted);
  t.is(peer.pid, process.pid);
  t.is(peer.uid, process.getuid?.() ?? -1);
  // node adds the effective gid to its list.
  const held = process.getgroups?.() ?? [];
  t.deepEqual(new Set([...peer.groups, peer.gid]), new Set([...held, peer.gid]));
  accepted.destroy();
  client.destroy();
  server.close();
  await once(server, 'close');
  t.throws(() => peerOf(accepted), { message: /no descriptor/ });
});

when(test, { tools: ['bwrap', 'perl'], root: true })(
  'the terminal filter refuses pushing input, and only that',
  async (t) => {
    const script =
      'for my $r (0x5412, 0x541c, 0x5413) { my $b = "\\0" x 64; ioctl(STDIN, $r, $b); print(($!+0), "\\n"); }';
    const child = await startProgram(
      program(
        '/usr/bin/bwrap',
        '--dev-bind',
        '/',
        '/',
        '--seccomp',
        '3',
        '--',
        '/usr/bin/perl',
        '-e',
        script,
      ),
      { pipes: 1, input: true },
    );
    child.pipes[0]?.end(terminalFilter());
    let text = '';
    for await (const piece of child.stdout) text += String(piece);
    child.stdin?.end();
    await child.done;
    const [push, paste, size] = text.trim().split('\n').map(Number);
    t.is(push, 1);
    t.is(paste, 1);
    t.not(size, 1);
  },
);

test('filters are whole instructions for both machines', (t) => {
  for (const make of [confinedFilter, terminalFilter]) {
    for (const machine of ['x64', 'arm64'] as const) {
      const bytes = make(machine);
      t.is(bytes.length % 8, 0);
      t.true(bytes.length / 8 < 4096);
      for (let at = 0; at < bytes.length; at += 8) {
        const rest = (bytes.length - at) / 8 - 1;
        const jumps = bytes.readUInt16LE(at) !== 0x20 && bytes.readUInt16LE(at) !== 0x06;
        if (jumps) t.true(bytes[at + 2]! < rest && bytes[at + 3]! < rest);
      }
    }
  }
});

test('space of a file system', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'x'));
  const usage = await diskUsageOf(folder);
  t.true(usage.totalBytes >= usage.freeBytes && usage.freeBytes >= usage.availableBytes);
  t.is(
    String(usage.totalBytes),
    run('stat', '-f', '-c', '%b %S', folder)
      .trim()
      .split(' ')
      .map(Number)
      .reduce((a, b) => a * b)
      .toString(),
  );
});
