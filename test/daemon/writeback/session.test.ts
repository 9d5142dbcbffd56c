import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { Session, SYNC_EVERY_MS } from '../../../daemon/writeback/session.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const HOUR_MS = 3_600_000;

when(test, { root: true })('a clock that is set back keeps nothing from the disk', async (t) => {
  const folder = temporaryFolder(t);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  const clock = { wallMs: Date.now(), elapsedMs: 1_000 };
  const wanted = {
    ...{ name: 'app', owner: 65_533, gid: 65_533, groups: [], app: 'app' },
    ...{ home: join(folder, 'home'), folders: ['cache'] },
  };
  // What runs in it is this test. Nothing is to be written back: a try is seen by its failure.
  const program = { version: 1 as const, folder: join(folder, 'group'), freezable: false };
  mkdirSync(program.folder);
  writeFileSync(join(program.folder, 'cgroup.procs'), `${process.pid}\n`);
  const session = new Session(
    {
      ...{ store, log: silentLog, now: () => clock.wallMs, elapsedMs: () => clock.elapsedMs },
      makePartition: async () => folder,
      partitionOf: async () => undefined,
      removePartition: async () => undefined,
    },
    wanted,
    { ...wanted, boot: 'now', sinceMs: clock.wallMs, programs: [program] },
  );
  session.state = 'serving';
  t.teardown(() => session.close());
  clock.wallMs -= HOUR_MS;
  clock.elapsedMs += SYNC_EVERY_MS - 1;
  await session.tick();
  t.is(session.problem, undefined);
  clock.elapsedMs += 1;
  await session.tick();
  t.not(session.problem, undefined);
});
