import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { startAsCaller, startWalker } from '../../../daemon/kernel/as-caller.ts';
import { ProgramFailed, runProgram, startProgram } from '../../../daemon/kernel/exec.ts';
import { hasFuse, mountHung, mountMute } from '../../support/hung-mount.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const hung = when(test, { root: true, tools: ['prlimit', 'mount'], other: hasFuse });

hung(
  'a hung file system in a tree ends the walker at its deadline, and holds up nobody else',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree/hung'), { recursive: true });
    writeFileSync(join(folder, 'tree/file'), 'x');
    const mount = mountHung(join(folder, 'tree/hung'));
    t.teardown(() => mount.release());
    const child = await startWalker({
      caller: { uid: 0, gid: 0, groups: [] },
      path: join(folder, 'tree'),
      deadlineMs: 3_000,
    });
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 1);
    for await (const _ of child.stdout);
    const error = await t.throwsAsync(child.done, { instanceOf: ProgramFailed });
    clearInterval(turning);
    t.true((error as ProgramFailed).ended.timedOut);
    t.true(turns > 10);
  },
);

/** Files that nobody can look at, and no signal ends who does: each asks for one of its own. */
async function muteFiles(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const mute = await mountMute(folder);
  // What hangs keeps no process alive that waits for it.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(alive));
  let isMounted = true;
  const release = (): void => {
    if (isMounted) mute.release();
    isMounted = false;
  };
  t.teardown(release);
  return { file: (name: string) => join(folder, name), asked: mute.asked, release };
}

const stat = (path: string) => ({ file: '/usr/bin/stat', args: [path], deadlineMs: 3_000 });
const root = { uid: 0, gid: 0, groups: [] };

hung('a program that hangs in the kernel is waited for no longer than its deadline', async (t) => {
  const { file, asked, release } = await muteFiles(t);
  const child = await startProgram(stat(file('a')));
  const read = t.throwsAsync(text(child.stdout), { instanceOf: ProgramFailed });
  await asked('a');
  const error = await t.throwsAsync(child.done, { instanceOf: ProgramFailed });
  t.true((error as ProgramFailed).ended.timedOut);
  t.regex(error!.message, /stat: it did not end in time: .*kernel/);
  await read;
  t.true(existsSync(`/proc/${child.pid}`));
  release();
  t.is(await child.exited, 'SIGKILL');
});

hung('the same of one whose output is wanted as a whole, and of one that is killed', async (t) => {
  const { file, asked } = await muteFiles(t);
  const whole = t.throwsAsync(runProgram(stat(file('a'))), { instanceOf: ProgramFailed });
  await asked('a');
  t.true(((await whole) as ProgramFailed).ended.timedOut);
  const child = await startProgram({ ...stat(file('b')), deadlineMs: 2 ** 31 - 1 });
  await asked('b');
  child.kill();
  await t.throwsAsync(child.done, { instanceOf: ProgramFailed, message: /kernel/ });
  t.true(child.stdout.destroyed);
});

hung('who has started one that hangs can end', async (t) => {
  const { file, asked } = await muteFiles(t);
  const exec = join(import.meta.dirname, '../../../daemon/kernel/exec.ts');
  const script = `
    import { startProgram } from ${JSON.stringify(exec)};
    const child = await startProgram(${JSON.stringify(stat(file('a')))});
    await child.done.catch(() => console.log('given up'));`;
  const words = ['--no-warnings', '--input-type=module', '-e', script];
  const starter = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  await asked('a');
  const [said] = await Promise.all([text(starter.stdout), once(starter, 'exit')]);
  t.is(said, 'given up\n');
});

hung('a user has a few that hang, and more again when they have ended', async (t) => {
  const { file, asked, release } = await muteFiles(t);
  const start = (name: string) =>
    startAsCaller({ argv: ['/usr/bin/stat', file(name)], caller: root, deadlineMs: 2 ** 31 - 1 });
  const children = await Promise.all(['a', 'b', 'c', 'd'].map(start));
  for (const name of ['a', 'b', 'c', 'd']) await asked(name);
  for (const child of children) child.kill();
  for (const child of children)
    await t.throwsAsync(child.done, { instanceOf: ProgramFailed, message: /kernel/ });
  await t.throwsAsync(start('e'), { message: /caller-0: 4 like it hang in a file system/ });
  release();
  for (const child of children) await child.exited;
  const other = await startAsCaller({ argv: ['/usr/bin/true'], caller: root, deadlineMs: 30_000 });
  await t.notThrowsAsync(other.done);
});

hung('a walk of a tree that does not answer is given up', async (t) => {
  const { file, asked } = await muteFiles(t);
  const child = await startWalker({ caller: root, path: file('d'), deadlineMs: 2 ** 31 - 1 });
  await asked('d');
  child.kill();
  await t.throwsAsync(child.done, { instanceOf: ProgramFailed, message: /kernel/ });
});
