import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { putServed } from '../../../daemon/writeback/served-rows.ts';
import { Sessions } from '../../../daemon/writeback/sessions.ts';
import { WriterFailed } from '../../../daemon/writeback/writer-child.ts';
import { hasFuse, mountMute } from '../../support/hung-mount.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { servedHome, uid } from './served-home.ts';

// A user's file system that takes what it is asked and never answers: who works on it cannot even be killed.

const hung = when(test, { root: true, tools: ['prlimit', 'mount'], other: hasFuse });

/** Such a file system at this folder, until the test ends. */
async function muteAt(t: ExecutionContext, folder: string): Promise<() => Promise<void>> {
  const mute = await mountMute(folder);
  t.teardown(mute.release);
  return mute.asked;
}

hung('a writer that hangs in it answers at its deadline that it has ended', async (t) => {
  const home = await servedHome(t);
  const asked = await muteAt(t, home.disk);
  const writer = await home.writer();
  const memory = home.partition;
  const opened = t.throwsAsync(writer.ask({ do: 'open', memory, fill: true }, 'opened', 3_000), {
    instanceOf: WriterFailed,
    message: 'its writer has ended',
  });
  await asked();
  await opened;
  t.true(writer.hasEnded);
  await t.notThrowsAsync(writer.end());
});

hung('at the stop of the daemon it holds up no other application', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'test.db'));
  t.teardown(() => store.close());
  const good = await servedHome(t);
  const { home } = await servedHome(t);
  // The clock of the sessions keeps no process alive.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(alive));
  const due = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let onTime = (): void => undefined;
  const sessions = new Sessions({
    ...{ store, log: silentLog, now: () => Date.now() },
    elapsedMs: () => {
      onTime();
      return 0;
    },
    makePartition: async () => good.partition,
    growPartition: async () => undefined,
    partitionOf: async () => undefined,
    removePartition: async () => ended.resolve(),
  });
  // When the file system has gone there is nothing that hangs.
  t.teardown(() => sessions.close());
  const asked = await muteAt(t, home);
  const ids = { owner: uid, gid: uid, groups: [], folders: ['app'] };
  const bad = { ...ids, name: 'bad', app: 'bad', home };
  await store.commit((tx) => putServed(tx, { ...bad, boot: 'old', sinceMs: 0, programs: [] }));
  await sessions.recover();
  await asked();
  const wanted = { ...ids, name: 'good', app: 'good', home: good.home };
  const entered = await sessions.enter(wanted, performance.now() + 60_000);
  if (!('session' in entered)) return t.fail(JSON.stringify(entered));
  entered.session.decline();
  // What is due for one is looked at together with what is due for the other.
  onTime = due.resolve;
  await due.promise;
  const closed = sessions.close(5_000);
  await ended.promise;
  t.is(entered.session.state, 'gone');
  await closed;
  t.is(sessions.pages(uid, 'bad')[0]?.state, 'ending');
});
