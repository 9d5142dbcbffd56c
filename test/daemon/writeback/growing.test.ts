import { spawn } from 'node:child_process';
import { mkdirSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { openPlace } from '../../../daemon/kernel/mounts.ts';
import { resizeTmpfs } from '../../../daemon/kernel/tmpfs.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { Session } from '../../../daemon/writeback/session.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { servedHome, uid } from './served-home.ts';

// A program works in memory that is too small for what it writes: a real memory file system, a real writer.

const MiB = 2 ** 20;
const rooted = when(test, { root: true });

/** Appends so many MiB to its file as it is told, and says whether there was room for them. */
const filling =
  'while read -r n; do head -c "$n"M /dev/zero >> big 2> /dev/null && echo had || echo full; done';

/** A session whose one program runs in memory of 16 MiB. `grow` decides what becomes of it when it asks for more. */
async function working(
  t: ExecutionContext,
  grow: (bytes: number, really: () => Promise<void>) => Promise<void>,
) {
  const machine = await servedHome(t, { memoryBytes: 16 * MiB });
  const { home, partition, memory, disk } = machine;
  const folder = temporaryFolder(t);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  const really = async (bytes: number) => {
    using root = openPlace(partition);
    await resizeTmpfs(root, { bytes, swaps: false });
  };
  const group = { version: 1 as const, folder: join(folder, 'group'), freezable: false };
  const wanted = { name: 'app', owner: uid, gid: uid, groups: [], app: 'app', home };
  const served = { ...wanted, folders: ['app'], boot: 'now', sinceMs: 0, programs: [group] };
  const clock = { elapsedMs: 0 };
  const session = new Session(
    {
      ...{ store, log: silentLog, now: () => Date.now(), elapsedMs: () => clock.elapsedMs },
      makePartition: async () => partition,
      growPartition: (_, bytes) => grow(bytes, () => really(bytes)),
      partitionOf: async () => partition,
      removePartition: async () => undefined,
    },
    served,
    served,
  );
  t.teardown(() => session.close());
  // An earlier daemon has filled memory.
  const first = await machine.writer();
  await first.ask({ do: 'open', memory: partition, fill: true }, 'opened', 60_000);
  await first.end();
  const ids = { uid, gid: uid };
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit'];
  const program = spawn('sh', ['-c', filling], { cwd: memory, stdio, ...ids });
  const ended = new Promise<void>((resolve) => program.once('exit', () => resolve()));
  t.teardown(async () => {
    program.kill('SIGKILL');
    await ended;
  });
  mkdirSync(group.folder);
  writeFileSync(join(group.folder, 'cgroup.procs'), `${program.pid}\n`);
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  await session.resume();
  t.is(session.problem, undefined);
  return {
    session,
    roomMiB: () => (statfsSync(partition).blocks * 4096) / MiB,
    hour() {
      clock.elapsedMs += 3_600_000;
    },
    async write(mib: number): Promise<string> {
      program.stdin.write(`${mib}\n`);
      return String((await lines.next()).value);
    },
    /** What the disk has of its file, in MiB, when the last generation has been brought there. */
    async broughtMiB(): Promise<number> {
      await session.close();
      const next = await machine.recoverer();
      await next.ask({ do: 'finish' }, 'finished', 60_000);
      return statSync(join(disk, 'big')).size / MiB;
    },
  };
}

rooted(
  'a program that writes more than its memory had goes on, and the disk has all',
  async (t) => {
    const { session, write, roomMiB, broughtMiB } = await working(t, (_, really) => really());
    for (const [mib, room] of [
      [13, 32],
      [15, 64],
      [30, 128],
    ] as const) {
      t.is(await write(mib), 'had');
      await session.keepRoom();
      t.is(roomMiB(), room);
      t.is(session.shortage, undefined);
    }
    await session.syncNow();
    t.is(await broughtMiB(), 58);
  },
);

rooted('where it cannot be given more, that is told before the program is', async (t) => {
  let refusal: string | undefined = 'over the limit';
  const { session, write, hour, roomMiB } = await working(t, async (_, really) => {
    if (refusal !== undefined) throw new Error(refusal);
    await really();
  });
  t.is(await write(13), 'had');
  await session.keepRoom();
  t.regex(session.shortage ?? '', /^only .* of 16 MiB .* could not be given more: over the limit;/);
  t.is(await write(4), 'full');
  await session.syncNow();
  t.is(session.problem, undefined, 'what was written comes to the disk all the same');
  refusal = undefined;
  await session.keepRoom();
  t.is(roomMiB(), 16, 'it is not asked for again at once');
  hour();
  await session.keepRoom();
  t.is(session.shortage, undefined);
  t.is(await write(4), 'had');
});

rooted('a growth that takes long holds up no write-back, and no end', async (t) => {
  const late = Promise.withResolvers<void>();
  let asked = 0;
  const { session, write, broughtMiB } = await working(t, async () => {
    asked += 1;
    await late.promise;
  });
  t.is(await write(13), 'had');
  const growing = session.keepRoom();
  await session.syncNow();
  t.is(session.problem, undefined);
  await session.keepRoom();
  t.is(asked, 1);
  t.is(await broughtMiB(), 13);
  late.reject(new Error('it has gone'));
  await t.notThrowsAsync(growing);
});
