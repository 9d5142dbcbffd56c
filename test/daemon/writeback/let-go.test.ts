import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { withAncestors } from '../../../daemon/kernel/ancestors.ts';
import type { Hierarchy } from '../../../daemon/kernel/cgroups.ts';
import { boottimeMs } from '../../../daemon/kernel/clock.ts';
import { lockFile } from '../../../daemon/kernel/files.ts';
import { openStore } from '../../../daemon/store/database.ts';
import type { ProgramGroup } from '../../../daemon/writeback/program-groups.ts';
import { Session, SYNC_EVERY_MS } from '../../../daemon/writeback/session.ts';
import { StopNotes } from '../../../daemon/writeback/stop-notes.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { grouped, untilWritten, ways } from './grouped-program.ts';
import { servedHome, uid } from './served-home.ts';

const program = fileURLToPath(new URL('../../../daemon/main.ts', import.meta.url));

/** What `personad --restore` says of the daemon of this tree. */
async function restore(tree: string): Promise<string> {
  const env = { PATH: process.env.PATH, PERSONA_ROOT: tree };
  const args = ['--no-warnings', program, '--restore'];
  return (await promisify(execFile)(process.execPath, args, { env })).stdout;
}

const STOP = { 1: 'FROZEN', 2: '1' } as const;
const GOES = { 1: 'THAWED', 2: '0' } as const;

/** A session that an earlier daemon has left, and a program of it that writes into memory, in a group that can be stopped. */
async function left(
  t: ExecutionContext,
  hierarchy: Hierarchy,
  others: ProgramGroup[] = [],
  elapsedMs = boottimeMs,
) {
  const { home, memory, partition, writer } = await servedHome(t);
  const store = await openStore(join(temporaryFolder(t), 'test.db'));
  t.teardown(() => store.close());
  const first = await writer();
  await first.ask({ do: 'open', memory: partition, fill: true }, 'opened', 60_000);
  await first.end();
  const { version } = hierarchy;
  const program = await grouped(t, hierarchy, 'left', [`${memory}/a`, `${memory}/b`]);
  const programs = [{ version, folder: program.group, freezable: true }, ...others];
  const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home };
  const served = { ...wanted, folders: ['app'], boot: 'now', sinceMs: 0, programs };
  const tree = temporaryFolder(t);
  for (const name of ['run', 'state']) mkdirSync(join(tree, name));
  const session = new Session(
    {
      stops: new StopNotes(join(tree, 'run')),
      ...{ store, log: silentLog, now: () => Date.now(), elapsedMs },
      makePartition: async () => partition,
      growPartition: async () => undefined,
      partitionOf: async () => partition,
      removePartition: async () => undefined,
    },
    served,
    served,
  );
  t.teardown(() => session.close());
  const { control } = program.stop;
  const stop = () => writeFileSync(control, STOP[version]);
  const goes = () => readFileSync(control, 'latin1').trim() === GOES[version];
  const { pid } = program.program.process;
  const box = join(home, '.persona-app');
  return { session, tree, group: program.group, pid: pid!, box, stop, goes, file: `${memory}/a` };
}

for (const [name, hierarchy] of ways) {
  const other = () => (hierarchy === undefined ? `no freezer of cgroup ${name}` : undefined);
  when(test, { root: true, other })(
    `cgroup ${name}: who stood still at a kill goes on, also beside one that cannot be stopped`,
    async (t) => {
      const folder = join(temporaryFolder(t), 'group');
      mkdirSync(folder);
      writeFileSync(join(folder, 'cgroup.procs'), `${process.pid}\n`);
      const beside = { version: 1 as const, folder, freezable: false };
      const { session, stop, goes, file } = await left(t, hierarchy!, [beside]);
      stop();
      t.false(goes());
      await session.resume();
      t.is(session.problem, undefined);
      t.true(goes());
      untilWritten(file);
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: who stood still at a kill goes on by --restore, but not while a daemon runs`,
    async (t) => {
      const { session, tree, group, stop, goes, file } = await left(t, hierarchy!);
      const notes = () => readdirSync(join(tree, 'run/stops'));
      await session.resume();
      t.is(session.problem, undefined);
      await session.syncNow();
      t.deepEqual(notes(), ['app']);
      t.is(statSync(join(tree, 'run/stops')).mode & 0o777, 0o700);
      stop();
      const lock = await lockFile(join(tree, 'state/.lock'));
      t.regex(await restore(tree), /a daemon runs/);
      t.false(goes());
      lock?.close();
      const note = join(tree, 'run/stops/app');
      const written = readFileSync(note, 'latin1');
      t.true((await restore(tree)).includes(`${group}, which was stopped`));
      t.true(goes());
      untilWritten(file);
      t.deepEqual(notes(), []);
      // Another group of that name is not the one that was stopped, and what is half written names none.
      stop();
      for (const other of [written.replace(/"id":"\d+"/, '"id":"1"'), written.slice(0, -2)]) {
        t.not(other, written);
        writeFileSync(note, other);
        t.false((await restore(tree)).includes('goes on'));
        t.false(goes());
        t.deepEqual(notes(), []);
      }
      writeFileSync(note, written);
      await session.close();
      t.deepEqual(notes(), []);
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: nobody is stopped in a group of whoever asks for it, until it is due`,
    async (t) => {
      let nowMs = 100_000;
      const { session, tree, pid, box } = await left(t, hierarchy!, [], () => nowMs);
      const notes = () => readdirSync(join(tree, 'run/stops'));
      await session.resume();
      await session.syncNow(withAncestors(process.pid));
      t.deepEqual(notes(), ['app']);
      // Its writer cannot write: what was asked for fails, whether the program pauses or not.
      chmodSync(box, 0);
      nowMs += SYNC_EVERY_MS - 1;
      await t.throwsAsync(session.syncNow(withAncestors(pid)));
      t.deepEqual(notes(), []);
      chmodSync(box, 0o700);
      t.not(session.problem, undefined);
      nowMs += 1;
      await session.tick();
      t.is(session.problem, undefined);
      t.deepEqual(notes(), ['app']);
    },
  );
}
