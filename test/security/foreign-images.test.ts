import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { run, when } from '../support/needs.ts';
import { done, privateTree, startLive } from './live-daemon.ts';
import { programTree } from './trees.ts';

// SECURITY 8: what this machine did not write itself is not mounted, whole or corrupt. Every call of the daemon that can
// bring a file system to life is looked at; those of confined children, which have no image to mount, are not its own.

const needs = { root: true, tools: ['strace', 'mkfs.erofs', 'bwrap', 'setpriv', 'prlimit'] };
const calls = 'fsopen,fsconfig,fsmount,mount,ioctl';
const mounts = /^\d+ +(fsopen|fsconfig|fsmount|mount)\(|LOOP_(CONFIGURE|SET_FD)/;

/** Writes down what a process and its threads ask of the kernel while `work` runs; its children are left out. */
async function mountsOf(
  t: ExecutionContext,
  pid: number,
  file: string,
  work: () => Promise<void>,
): Promise<string[]> {
  const tracer = spawn('strace', ['-f', '-e', `trace=${calls}`, '-o', file, '-p', `${pid}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => tracer.kill('SIGKILL'));
  const ended = new Promise<void>((resolve) => tracer.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let said = '';
    tracer.stderr.on('data', (piece) => {
      said += String(piece);
      if (said.includes('attached')) resolve();
    });
    tracer.once('close', () => reject(new Error(`strace: ${said}`)));
  });
  const threads = new Set(run('ls', `/proc/${pid}/task`).split('\n'));
  await work();
  for (const thread of run('ls', `/proc/${pid}/task`).split('\n')) threads.add(thread);
  tracer.kill('SIGTERM');
  await ended;
  const lines = readFileSync(file, 'latin1').split('\n');
  return lines.filter((line) => mounts.test(line) && threads.has(line.split(' ')[0] ?? ''));
}

when(test, needs)('no mount call sees an image that was given as a difference', async (t) => {
  const root = privateTree(t);
  const base = programTree(root, 'base');
  const layer = join(root, 'layer');
  mkdirSync(join(layer, 'etc'), { recursive: true });
  writeFileSync(join(layer, 'etc/name'), 'of a stranger');
  const image = join(root, 'layer.erofs');
  run('mkfs.erofs', '--quiet', image, layer);
  const whole = readFileSync(image);
  const daemon = await startLive(t, root);
  const client = await daemon.client();
  await done(client, 'base.import', { name: 'base', source: { kind: 'path', path: base } });
  await done(client, 'slot.create', { name: 'work' });
  const create = (name: string, bytes: Buffer) => {
    const path = join(root, `${name}.erofs`);
    writeFileSync(path, bytes);
    return done(client, 'persona.create', { name, base: 'base', diff: { kind: 'path', path } });
  };
  const pid = daemon.child.pid ?? 0;
  const seen = await mountsOf(t, pid, join(root, 'trace'), async () => {
    for (const at of [1024, 1028, 1040, 1100, 1152, 1200, 4200]) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      await create(`odd-${at}`, bytes).catch(() => undefined);
    }
    await create('whole', whole);
  });
  t.deepEqual(seen, []);
  // The same eyes see the mounts of a swap, which shows what was written anew.
  const swapped = await mountsOf(t, pid, join(root, 'trace-of-a-swap'), async () => {
    await done(client, 'slot.swap', { slot: 'work', persona: 'whole' });
  });
  t.true(swapped.length > 0);
  t.is(readFileSync(`${daemon.run}/slots/work/root/etc/name`, 'utf8'), 'of a stranger');
});
