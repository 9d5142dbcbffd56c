import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Hierarchy, moveProcess, removeGroup } from '../../../daemon/kernel/cgroups.ts';
import { Freezer, letGo } from '../../../daemon/kernel/freezer.ts';
import { sharedIn } from '../../../daemon/kernel/shared-maps.ts';
import { runningIn } from '../../../daemon/writeback/program-groups.ts';
import { sync } from '../../../daemon/writeback/sync.ts';
import { WriterFailed } from '../../../daemon/writeback/writer-child.ts';
import { fillDisk } from '../../support/fill-disk.ts';
import { hasFuse } from '../../support/hung-mount.ts';
import { partner } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { serveFolders } from '../../support/served-folders.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { grouped, stopped, untilWritten, ways } from './grouped-program.ts';
import { type ServedHome, servedHome, uid } from './served-home.ts';

/** A folder in memory that a writer keeps, and two files in it for each of these programs. `put` is told of the home before it is read. */
async function servedFiles(
  t: ExecutionContext,
  programs: string[],
  limits = {},
  put: (home: ServedHome) => void = () => undefined,
) {
  const home = await servedHome(t, limits);
  put(home);
  const served = await home.writer();
  await served.ask({ do: 'open', memory: home.partition, fill: true }, 'opened', 60_000);
  const files = programs.map((name) => ['a', 'b'].map((one) => `${home.memory}/${name}${one}`));
  return { home, served, files };
}

/** A folder in memory with a program that writes in it, in a group of this hierarchy that can be stopped. */
async function writing(
  t: ExecutionContext,
  hierarchy: Hierarchy,
  limits = {},
  put?: (home: ServedHome) => void,
) {
  const { home, served, files: of } = await servedFiles(t, [''], limits, put);
  const { stop, program, files } = await grouped(t, hierarchy, 'one', of[0]!);
  await served.mayStop([stop]);
  return { home, served, stop, program, files };
}

const mapped = async () => new Set<string>();
const running = async () => ({ populated: true, freezable: true, mapped });

for (const [name, hierarchy] of ways) {
  const other = () => (hierarchy === undefined ? `no freezer of cgroup ${name}` : undefined);
  when(test, { root: true, other })(
    `cgroup ${name}: a program is taken at one moment`,
    async (t) => {
      const { home, served, program, files } = await writing(t, hierarchy!);
      for (let n = 1; n <= 3; n += 1) {
        const { files: saved, frozenMs } = await sync(served, running, () => n);
        t.is(saved, 2);
        t.true(frozenMs > 0);
      }
      // It goes on.
      untilWritten(files[0]!);
      // Without a stop it is the moment of a pause, or none.
      const unstopped = async () => ({ ...(await running()), freezable: false });
      await sync(served, unstopped, () => 4).catch((error) =>
        t.true(error instanceof WriterFailed),
      );
      await program.end();
      await served.end();
      await (await home.recoverer()).ask({ do: 'finish' }, 'finished', 60_000);
      const [a, b] = ['a', 'b'].map((one) => Number(readFileSync(`${home.disk}/${one}`, 'latin1')));
      t.true(a! > 0);
      t.true(a === b || a === b! + 1, `${a} and ${b}`);
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: a program that would stand still too long goes on, and the generation before stays`,
    async (t) => {
      const { served, program, files } = await writing(t, hierarchy!, { frozenMsMax: 0 });
      await t.throwsAsync(
        sync(served, running, () => 1),
        { message: /busy/ },
      );
      untilWritten(files[0]!);
      await program.end();
      t.pass();
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: programs in several groups are taken at one moment`,
    async (t) => {
      const names = ['one', 'two', 'three'];
      const { home, served, files } = await servedFiles(t, names);
      const all = [];
      for (const [index, one] of names.entries())
        all.push(await grouped(t, hierarchy!, one, files[index]!));
      const stops = all.map(({ stop }) => stop);
      const opened = Freezer.open(stops);
      const freezer = new Freezer(opened.versions, opened.files);
      t.teardown(() => freezer.close());
      freezer.freeze(5000);
      const read = () => files.flat().map((file) => readFileSync(file, 'latin1'));
      t.deepEqual(
        stops.map(({ state }) => stopped(state)),
        [true, true, true],
      );
      t.deepEqual(read(), read());
      freezer.thaw();
      for (const [file] of files) untilWritten(file!);

      // More of them begin, and end, under the same writer.
      for (const now of [stops.slice(0, 1), stops, stops.slice(1)]) {
        await served.mayStop(now);
        if (now.length < stops.length) continue;
        t.is((await sync(served, running, () => 1)).files, 6);
        for (const [file] of files) untilWritten(file!);
      }
      await all[0]!.program.end();
      removeGroup(all[0]!.group);
      await served.mayStop(stops);
      t.is((await sync(served, running, () => 2)).files, 6);
      await served.end();
      await (await home.recoverer()).ask({ do: 'finish' }, 'finished', 60_000);
      for (const one of names) {
        const [a, b] = ['a', 'b'].map((file) =>
          Number(readFileSync(`${home.disk}/${one}${file}`, 'latin1')),
        );
        t.true(a! > 0);
        t.true(a === b || a === b! + 1, `${one}: ${a} and ${b}`);
      }
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: whoever is killed while a program stands still, it goes on`,
    async (t) => {
      const { home, served, stop, files } = await writing(t, hierarchy!, {
        memoryBytes: 512 << 20,
      });
      // It counts as mapped: it is copied while the program stands still, which takes a while.
      const big = `${home.memory}/big`;
      writeFileSync(big, Buffer.alloc(200 << 20, 1));
      const inode = String(statSync(big).ino);
      const slow = async () => ({ ...(await running()), mapped: async () => new Set([inode]) });
      let result: string | undefined;
      const take = async () => {
        result = undefined;
        result = await sync(served, slow, () => 1).then(() => 'taken', String);
      };
      let taking = take();
      // Until it is met standing still.
      while (!stopped(stop.state)) {
        await new Promise(setImmediate);
        if (result === 'taken') taking = take();
      }
      await Promise.all([served.end(), taking]);
      t.regex(result ?? '', /writer has ended/);
      untilWritten(files[0]!);

      // The writer and the daemon: the next one lets it go on, before anything else.
      writeFileSync(stop.control, hierarchy!.version === 2 ? '1' : 'FROZEN');
      letGo([stop]);
      untilWritten(files[0]!);
    },
  );
}

const [, someWay] = ways.find(([, hierarchy]) => hierarchy !== undefined) ?? [];
const unstoppable = () => (someWay === undefined ? 'no freezer of control groups' : undefined);

/** A disk that can be held up, in place of the home. */
function onExt4({ home, disk }: ServedHome): void {
  const image = `${home}.image`;
  run('truncate', '-s', '64M', image);
  run('mkfs.ext4', '-q', image);
  run('mount', '-o', 'loop', image, home);
  mkdirSync(disk);
  for (const at of [home, disk]) chownSync(at, uid, uid);
}

/** Returns when it is so. */
async function until(isSo: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 60_000; !isSo(); await turn())
    if (performance.now() > endMs) throw new Error(`not within 60 s: ${isSo}`);
}

when(test, { root: true, tools: ['mkfs.ext4', 'mount', 'fsfreeze'], other: unstoppable })(
  'a program goes on in time when its writer hangs in the disk, and is taken when that goes on',
  async (t) => {
    const limits = { memoryBytes: 4 << 20, frozenMsMax: 1000 };
    const { home, served, stop, files } = await writing(t, someWay!, limits, onExt4);
    // Copies have no room in memory: they go to the disk at once.
    t.is(fillDisk(`${home.memory}/big`).code, 'ENOSPC');
    const letDiskGo = () => run('fsfreeze', '-u', home.home);
    run('fsfreeze', '-f', home.home);
    let held = true;
    t.teardown(() => void (held && letDiskGo()));
    let answered = false;
    const taken = served
      .take([], true, 60_000)
      .then(() => 'taken', String)
      .finally(() => {
        answered = true;
      });
    await until(() => stopped(stop.state));
    await until(() => !stopped(stop.state));
    untilWritten(files[0]!);
    await turn();
    t.false(answered, 'its writer hangs');
    letDiskGo();
    held = false;
    t.regex(await taken, /busy all the time/);
    t.is((await sync(served, running, () => 1)).files, 3);
  },
);

when(test, { root: true, tools: ['mount'], other: () => unstoppable() ?? hasFuse() })(
  'where a program serves the disk of a folder it is not stopped, but others are',
  async (t) => {
    const home = await servedHome(t);
    const { release } = serveFolders(home.home, 'app');
    t.teardown(release);
    const served = await home.writer();
    await served.ask({ do: 'open', memory: home.partition, fill: true }, 'opened', 60_000);
    const elsewhere = temporaryFolder(t);
    const files = ['a', 'b'].map((name) => `${elsewhere}/${name}`);
    const { group: folder, stop } = await grouped(t, someWay!, 'one', files);
    await served.mayStop([stop]);
    const { version } = someWay!;
    const now = async () => runningIn([{ version, folder, freezable: true }], [], '0:0', true);
    t.true((await sync(served, now, () => 1)).frozenMs > 0);
    const server = partner(t, 'sh', '-c', 'exec 3<>/dev/fuse; echo open; read -r line');
    t.is(await server.line(), 'open');
    await moveProcess(folder, server.process.pid!);
    t.is((await sync(served, now, () => 2)).frozenMs, 0);
    const mapping = async () => ({ ...(await now()), mapped: async () => new Set(['1']) });
    await t.throwsAsync(
      sync(served, mapping, () => 3),
      { message: /is not stopped, as it may serve its own disk/ },
    );
    await served.end();
  },
);

test('shared mappings of one file system are told from all others', (t) => {
  const maps = [
    '7f0-7f1 rw-s 00000000 00:2a 4 /run/persona/fast/x/file',
    '7f1-7f2 r--s 00000000 00:2a 5 /run/persona/fast/x/other (deleted)',
    '7f2-7f3 rw-p 00000000 00:2a 6 /run/persona/fast/x/private',
    '7f3-7f4 rw-s 00000000 00:2b 7 /elsewhere',
    '7f4-7f5 rw-p 00000000 00:00 0',
    '7f5-7f6 r--p 00000000 00:2b 8 /elsewhere/\r7f5-7f6 rw-s 00000000 00:2a 9 /run/persona/fast/x',
  ];
  t.deepEqual(sharedIn(maps.join('\n'), '0:42'), ['4', '5']);
});
