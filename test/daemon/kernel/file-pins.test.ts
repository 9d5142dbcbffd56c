import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { Fd } from '../../../daemon/kernel/fd.ts';
import { pinFiles } from '../../../daemon/kernel/file-pins.ts';
import { executedIn, mappedPrograms } from '../../../daemon/kernel/mapped-programs.ts';
import { builtPins, lockedBytes, pinsNeeds } from '../../support/file-pins.ts';
import { when } from '../../support/needs.ts';

const MiB = 2 ** 20;
const live = when(test, pinsNeeds);
if (pinsNeeds.other() === undefined) test.before(builtPins);

test('files that are executed are found in the text of the kernel, whatever others are called', (t) => {
  const maps = [
    '55e0-55e1 r--p 00000000 fe:00 11                         /usr/bin/paint',
    '55e1-55e2 r-xp 00001000 fe:00 11                         /usr/bin/paint',
    '7f00-7f01 rwxp 00000000 00:00 0 ',
    '7f01-7f02 r-xp 00001000 fe:00 12                         /usr/lib/a library.so',
    '7f02-7f03 r-xp 00001000 fe:00 13                         /home/x/\\012 r-xp 0 0 9 /usr/lib/fake',
    '7f03-7f04 r-xp 00001000 fe:00 12                         /usr/lib/a library.so',
    '7f04-7f05 rw-s 00001000 fe:00 14                         /usr/lib/shared\u2028r-xp 1-2 r-xp 0 0 9 /usr/lib/fake',
    '7ffd-7ffe r-xp 00000000 00:00 0                          [vdso]',
  ].join('\n');
  t.deepEqual(executedIn(maps), [
    { path: '/usr/bin/paint', inode: '11' },
    { path: '/usr/lib/a library.so', inode: '12' },
    { path: '/home/x/\\012 r-xp 0 0 9 /usr/lib/fake', inode: '13' },
  ]);
  fc.assert(fc.property(fc.string(), (text) => executedIn(text).every(({ path }) => path !== '')));
});

/** A machine below a folder on a disk, with one program in each of these places. */
function machineWith(t: ExecutionContext, paths: readonly string[]) {
  const root = mkdtempSync('/var/tmp/personad-pins-');
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const path of paths) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    copyFileSync('/bin/sleep', join(root, path));
    chmodSync(join(root, path), 0o755);
  }
  return root;
}

async function running(t: ExecutionContext, file: string): Promise<number> {
  const child = spawn(file, ['1000'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await once(child, 'spawn');
  // It runs itself only when its libraries are there.
  while (!readFileSync(`/proc/${child.pid}/maps`, 'latin1').includes('/libc.so'))
    await new Promise(setImmediate);
  return child.pid!;
}

live(
  'only files that root alone can write, where packages lie, are found to be kept',
  async (t) => {
    const root = machineWith(t, ['usr/bin/good', 'usr/bin/open', 'usr/bin/users', 'home/own']);
    chmodSync(`${root}/usr/bin/open`, 0o775);
    chownSync(`${root}/usr/bin/users`, 5, 60);
    const found = async (path: string) => {
      const pid = await running(t, `${root}/${path}`);
      const all = await mappedPrograms(root, [pid, 2 ** 22 + 1]);
      for (const { file } of all) file.close();
      return all.map((one) => one.path);
    };
    const good = await found('usr/bin/good');
    t.true(good.includes(`${root}/usr/bin/good`));
    t.true(
      good.some((path) => /^\/usr\/lib\/.*libc/.test(path)),
      good.join(),
    );
    for (const path of ['usr/bin/open', 'usr/bin/users', 'home/own'])
      t.false((await found(path)).includes(`${root}/${path}`), path);
    // What lies at its path by now is another file.
    const pid = await running(t, `${root}/usr/bin/good`);
    rmSync(`${root}/usr/bin/good`);
    copyFileSync('/bin/sleep', `${root}/usr/bin/good`);
    const after = await mappedPrograms(root, [pid]);
    for (const { file } of after) file.close();
    t.false(after.some(({ path }) => path.endsWith('good')));
  },
);

/** Files of a MiB each, open. */
function files(t: ExecutionContext, count: number): Fd[] {
  const folder = mkdtempSync('/var/tmp/personad-pins-');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return Array.from({ length: count }, (_, at) => {
    writeFileSync(`${folder}/${at}`, Buffer.alloc(MiB, at));
    const file = new Fd(openSync(`${folder}/${at}`, 'r'), 'a file');
    t.teardown(() => file.close());
    return file;
  });
}

live('files are locked in memory as far as they fit, by a child that may do nothing', async (t) => {
  let pid = 0;
  const place = async (process: { pid: number }) => {
    pid = process.pid;
    t.is(lockedBytes(pid), 0, 'nothing is read before it has its group');
    return true;
  };
  const pins = await pinFiles(files(t, 4), { bytesMax: 3 * MiB + 5, place });
  t.deepEqual([pins.bytes, pins.files], [3 * MiB, 3]);
  t.is(lockedBytes(pid), 3 * MiB);
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  t.regex(status, /\nUid:\t65530\t65530\t65530\t65530\n/);
  t.regex(status, /\nCapEff:\t0+\n/);
  t.regex(status, /\nGroups:\t *\n/);
  process.kill(pid, 'SIGKILL');
  await pins.release();
  await pins.gone;
  t.is(lockedBytes(pid), undefined);
  const nowhere = { bytesMax: MiB, place: async () => false };
  await t.throwsAsync(pinFiles(files(t, 1), nowhere), { message: /no control group/ });
  const small = { bytesMax: MiB - 1, place: async () => true };
  await t.throwsAsync(pinFiles(files(t, 1), small), { message: /no file could be locked/ });
  const ending = new AbortController();
  const end = async () => {
    ending.abort();
    return true;
  };
  const ended = { bytesMax: MiB, place: end, signal: ending.signal };
  await t.throwsAsync(pinFiles(files(t, 1), ended), { message: /says nothing/ });
});

live('what was given up before it could be heard of is not begun', async (t) => {
  const ending = new AbortController();
  const place = async () => t.fail('nothing is to be read') === undefined;
  const asked = { bytesMax: MiB, place, signal: ending.signal };
  const starting = pinFiles(files(t, 1), asked);
  ending.abort();
  await t.throwsAsync(starting, { name: 'AbortError' });
  await t.throwsAsync(pinFiles(files(t, 1), asked), { name: 'AbortError' });
});

live('with who started it, it ends, and nothing is locked any more', async (t) => {
  const folder = mkdtempSync('/var/tmp/personad-pins-');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(`${folder}/file`, Buffer.alloc(MiB, 1));
  const kernel = new URL('../../../daemon/kernel/', import.meta.url);
  const source = `import { openSync } from 'node:fs';
    import { Fd } from '${new URL('fd.ts', kernel)}';
    import { pinFiles } from '${new URL('file-pins.ts', kernel)}';
    const file = new Fd(openSync(process.argv[1], 'r'), 'a file');
    let pid;
    await pinFiles([file], { bytesMax: ${MiB}, place: async (child) => (pid = child.pid) > 0 });
    console.log(pid);
    setInterval(() => undefined, 1000);`;
  const words = ['--no-warnings', '--input-type=module', '-e', source, `${folder}/file`];
  const owner = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => owner.kill('SIGKILL'));
  const [line] = await once(owner.stdout, 'data');
  const pid = Number(line);
  t.is(lockedBytes(pid), MiB);
  owner.kill('SIGKILL');
  while (lockedBytes(pid) !== undefined) await new Promise(setImmediate);
  t.pass();
});
