import test from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { IdleWatch } from '../../../daemon/enclave/idle.ts';
import { enclaveRoom } from '../../../daemon/enclave/room.ts';
import { fscryptNeeds } from '../../support/fscrypt.ts';
import { when } from '../../support/needs.ts';
import { mustDo } from '../../support/silent-daemon.ts';
import { close, create, MiB, member, open, page, place, right } from './vault.ts';

const works = when(test, fscryptNeeds);

const gate = () => Promise.withResolvers<void>();
/** The daemon's own watch closes nothing as long as the test runs. */
const idleMs = 3_600_000;

works('a closing that takes long holds up only those of the same user', async (t) => {
  const { daemon, root } = await place(t);
  const mine = ['slow', 'slow-too'];
  const all = [...mine, 'used-since'];
  for (const name of all) {
    await mustDo(daemon, create(member, 16 * MiB, 'passphrase', name));
    await mustDo(daemon, open(member, { idleMs }, name));
  }
  await mustDo(daemon, create());
  const { store } = daemon;
  const awake = setInterval(() => undefined, 1_000); // the looking by itself keeps no process
  t.teardown(() => clearInterval(awake));
  const begun: string[] = [];
  const [hangs, goesOn, closed] = [gate(), gate(), gate()];
  let now = 0;
  const watch = new IdleWatch({
    room: enclaveRoom({
      store,
      log: silentLog,
      paths: pathsOf(root),
      now: Date.now,
      spareBytes: () => 0,
    }),
    // What was not used since the last look is idle.
    clock: () => (now += idleMs),
    everyMs: 1,
    async close(name) {
      begun.push(name);
      hangs.resolve();
      if (all.includes(name)) return await goesOn.promise;
      await mustDo(daemon, close);
      closed.resolve();
    },
  });
  watch.start();
  await hangs.promise;
  await mustDo(daemon, open(right, { idleMs }));
  await closed.promise;
  t.like(await page(daemon), { state: 'closed' });
  await watch.stop();
  for (const _ of mine) await watch.look();
  t.is(begun.filter((name) => mine.includes(name)).length, 1);
  // What is opened to stay open is not closed for what it was.
  await mustDo(daemon, (m) => m['enclave.close']({ enclave: 'used-since' }, member));
  await mustDo(daemon, open(member, {}, 'used-since'));
  goesOn.resolve();
  while (!mine.every((name) => begun.includes(name))) await watch.look();
  t.false(begun.includes('used-since'));
  for (const enclave of all) await mustDo(daemon, (m) => m['enclave.close']({ enclave }, member));
});
