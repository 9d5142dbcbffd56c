import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { enclaveRoom } from '../../../daemon/enclave/room.ts';
import { closeForSleep } from '../../../daemon/enclave/sleep.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { fscryptNeeds } from '../../support/fscrypt.ts';
import { when } from '../../support/needs.ts';
import { type Asked, ask, mustDo, rootRequest } from '../../support/silent-daemon.ts';
import {
  close,
  closeByForce,
  copyWithHoles,
  create,
  holder,
  MiB,
  member,
  missingOf,
  open,
  page,
  place,
  volumesIn,
} from './vault.ts';

const works = when(test, fscryptNeeds);

/** A daemon with a closed enclave that has come without all its blocks, and an opening of it that stands still at a point until `goOn`. */
async function openingHeldAt(t: ExecutionContext, point: string, more: { beforeSleep?: true }) {
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const at = async (name: string) => {
    if (name !== `enclaves.show-volume:${point}`) return;
    reached.resolve();
    await gate.promise;
  };
  const { daemon, root } = await place(t, undefined, { faults: { at } });
  t.teardown(gate.resolve);
  await mustDo(daemon, create());
  const [image = ''] = volumesIn(root);
  copyWithHoles(image);
  const opening = ask(daemon, open(undefined, more));
  await reached.promise;
  return { root, image, daemon, opening, goOn: gate.resolve };
}

/** Hands a change to the engine, and waits for no more. */
async function submit(daemon: Daemon, asked: Asked) {
  const { plan } = await asked(daemon.rooms.methods(daemon.engine), daemon);
  return await daemon.engine.submit(plan);
}

/** A daemon with the closed enclave of a user, `fill`, which begins other changes of his, and `goOn`: until then those that run stand still. */
async function withBusyOwner(t: ExecutionContext) {
  const gate = Promise.withResolvers<void>();
  let filling = false;
  const at = async (point: string) => {
    if (filling && point === 'do:enclaves.make-volume') await gate.promise;
  };
  const { daemon } = await place(t, undefined, { faults: { at } });
  t.teardown(gate.resolve);
  await mustDo(daemon, create(member));
  const fill = async (count: number) => {
    filling = true;
    const others = [];
    for (let n = 0; n < count; n += 1)
      others.push(await submit(daemon, create(member, 16 * MiB, 'passphrase', `other${n}`)));
    return others;
  };
  return { daemon, fill, goOn: gate.resolve };
}

async function statusOf({ engine }: Daemon, { changeId }: { changeId: number }) {
  return (await engine.show(changeId)).status;
}

async function sleep(daemon: Daemon) {
  return await daemon.rooms.methods(daemon.engine)['enclave.sleep']({}, rootRequest);
}

works('closed by force, a program keeps what it has open and nothing else', async (t) => {
  const { daemon, path } = await place(t);
  await mustDo(daemon, create());
  await mustDo(daemon, open());
  writeFileSync(join(path, 'held'), 'held');
  writeFileSync(join(path, 'other'), 'other');
  const { child, end } = await holder(t, join(path, 'held'));
  t.is((await ask(daemon, close)).error?.code, 'enclave-busy');
  const { status, result } = await ask(daemon, closeByForce);
  t.is(status, 'done');
  t.deepEqual(result, { enclave: 'vault', held: true });
  t.like(await page(daemon), { state: 'closed' });
  t.regex((await page(daemon)).problem ?? '', /still holds a file/);
  t.deepEqual(readdirSync(path), []);
  const own = `/proc/${child.pid}`;
  const fd = readdirSync(`${own}/fd`).find((one) =>
    readlinkSync(`${own}/fd/${one}`).endsWith('/held'),
  );
  t.is(readFileSync(`${own}/fd/${fd}`, 'utf8'), 'held');
  t.throws(() => readFileSync(`${own}/cwd/other`), { message: /126|ENOKEY/ });
  // Opened again meanwhile, it is the same file system.
  await mustDo(daemon, open());
  t.is(readFileSync(join(path, 'other'), 'utf8'), 'other');
  t.is((await page(daemon)).problem, undefined);
  t.is((await ask(daemon, close)).error?.code, 'enclave-busy');
  await end();
  await mustDo(daemon, close);
});

works(
  'before the machine sleeps what asked for it is closed, also by a later daemon',
  async (t) => {
    const here = await place(t);
    await mustDo(here.daemon, create());
    await mustDo(here.daemon, open());
    t.deepEqual(await sleep(here.daemon), { closed: [], held: [], left: [] });
    t.like(await page(here.daemon), { state: 'open' });
    await mustDo(here.daemon, close);
    await mustDo(here.daemon, open(undefined, { beforeSleep: true }));
    writeFileSync(join(here.path, 'note'), 'kept');
    const daemon = await here.again();
    t.like(await page(daemon), { state: 'open', beforeSleep: true });
    t.deepEqual(await sleep(daemon), { closed: ['vault'], held: [], left: [] });
    t.like(await page(daemon), { state: 'closed' });
    await mustDo(daemon, open(undefined, { beforeSleep: true }));
    const { end } = await holder(t, join(here.path, 'note'));
    t.deepEqual(await sleep(daemon), { closed: [], held: ['vault'], left: [] });
    t.regex((await page(daemon)).problem ?? '', /still holds a file/);
    await end();
    // The kernel gives the device back a moment after the last file.
    while ((await page(daemon)).problem !== undefined) t.is((await page(daemon)).state, 'closed');
    await mustDo(daemon, open());
    t.is(readFileSync(join(here.path, 'note'), 'utf8'), 'kept');
    t.is((await page(daemon)).beforeSleep, undefined, 'asked for once');
    await mustDo(daemon, close);
  },
);

works(
  'a later daemon tells as well that a program still reads a file of a closed enclave',
  async (t) => {
    const here = await place(t);
    await mustDo(here.daemon, create());
    await mustDo(here.daemon, open());
    writeFileSync(join(here.path, 'note'), 'kept');
    const { end } = await holder(t, join(here.path, 'note'));
    await mustDo(here.daemon, closeByForce);
    const told = /still holds a file/;
    t.regex((await page(await here.again())).problem ?? '', told);
    // So does one that has lost the row.
    await here.daemon.store.commit((tx) => tx.run('DELETE FROM enclaves'));
    const daemon = await here.again();
    t.regex((await page(daemon)).problem ?? '', told);
    await end();
    // The kernel gives the device back a moment after the last file.
    while ((await page(daemon)).problem !== undefined) t.is((await page(daemon)).state, 'closed');
    await mustDo(daemon, open());
    await mustDo(daemon, close);
  },
);

works('sleep does not wait for what is not closed in time, and says so', async (t) => {
  const { daemon, root } = await place(t);
  await mustDo(daemon, create());
  await mustDo(daemon, open(undefined, { beforeSleep: true }));
  const { store } = daemon;
  const room = enclaveRoom({
    store,
    log: silentLog,
    paths: pathsOf(root),
    now: Date.now,
    spareBytes: () => 0,
  });
  const reason = 'not within 0.01 s';
  const openings = () => [];
  const late = { room, openings, close: () => new Promise<never>(() => {}), deadlineMs: 10 };
  t.deepEqual(await closeForSleep(late), {
    closed: [],
    held: [],
    left: [{ enclave: 'vault', reason }],
  });
  t.is(room.problems.get('vault'), `it was to be closed before the machine sleeps: ${reason}`);
  // Somebody else closes it meanwhile: that will do.
  const raced = {
    room,
    openings,
    close: async () => {
      await mustDo(daemon, close);
      throw new Error('it is closed');
    },
  };
  t.deepEqual(await closeForSleep(raced), { closed: ['vault'], held: [], left: [] });
});

works('however much its owner has under way, an enclave is closed before the sleep', async (t) => {
  const { daemon, fill, goOn } = await withBusyOwner(t);
  await mustDo(daemon, open(member, { beforeSleep: true }));
  const others = await fill(8);
  const closing: Asked = (m) => m['enclave.close']({ enclave: 'vault' }, member);
  await t.throwsAsync(submit(daemon, closing), { code: 'too-many-requests' });
  const [running, queued] = [others.slice(0, 3), others.slice(3)];
  for (const one of running) t.is(await statusOf(daemon, one), 'doing');
  for (const one of queued) t.is(await statusOf(daemon, one), 'queued');
  t.deepEqual(await sleep(daemon), { closed: ['vault'], held: [], left: [] });
  t.like(await page(daemon), { state: 'closed' });
  for (const { changeId } of queued) await daemon.engine.abort(changeId);
  goOn();
  for (const { done } of running) t.is((await done).status, 'done');
});

works('an opening that waits for a place is not waited for by the sleep', async (t) => {
  const { daemon, fill, goOn } = await withBusyOwner(t);
  const others = await fill(3);
  const opening = await submit(daemon, open(member, { beforeSleep: true }));
  t.is(await statusOf(daemon, opening), 'queued');
  t.deepEqual(await sleep(daemon), { closed: [], held: [], left: [] });
  t.is(await statusOf(daemon, opening), 'queued');
  t.is((await page(daemon)).problem, undefined);
  goOn();
  for (const { done } of [...others, opening]) t.is((await done).status, 'done');
  await mustDo(daemon, close);
});

works('what is being opened while the machine goes to sleep stays closed', async (t) => {
  const held = await openingHeldAt(t, 'unwrapped', { beforeSleep: true });
  const { daemon, image, opening, goOn } = held;
  t.is(missingOf(image), 0, 'what may take long has been done before the key is in memory');
  const asleep = sleep(daemon);
  goOn();
  t.like((await opening).error, {
    code: 'enclave-state',
    message: 'cannot open enclave vault: it is kept closed while the machine goes to sleep',
  });
  t.deepEqual(await asleep, { closed: [], held: [], left: [] });
  t.like(await page(daemon), { state: 'closed' });
  await mustDo(daemon, open(undefined, { beforeSleep: true }));
  await mustDo(daemon, close);
});

works('an opening that the sleep is too late to refuse is closed when it has ended', async (t) => {
  const { daemon, opening, goOn } = await openingHeldAt(t, 'shown', { beforeSleep: true });
  const asleep = sleep(daemon);
  goOn();
  t.is((await opening).status, 'done');
  t.deepEqual(await asleep, { closed: ['vault'], held: [], left: [] });
  t.like(await page(daemon), { state: 'closed' });
});

works('an opening that did not ask for it is no matter of the sleep', async (t) => {
  const { daemon, opening, goOn } = await openingHeldAt(t, 'unwrapped', {});
  t.deepEqual(await sleep(daemon), { closed: [], held: [], left: [] });
  goOn();
  t.is((await opening).status, 'done');
  t.like(await page(daemon), { state: 'open' });
  await mustDo(daemon, close);
});

works('an opening that does not end in time is named, and closed all the same', async (t) => {
  const { root, daemon, opening, goOn } = await openingHeldAt(t, 'shown', { beforeSleep: true });
  const { store } = daemon;
  const closed = Promise.withResolvers<void>();
  const parts = {
    room: enclaveRoom({
      store,
      log: silentLog,
      paths: pathsOf(root),
      now: Date.now,
      spareBytes: () => 0,
    }),
    openings: () => [{ enclave: 'vault', ended: opening.then(() => undefined) }],
    close: async () => {
      await mustDo(daemon, closeByForce);
      closed.resolve();
      return false;
    },
    deadlineMs: 10,
  };
  t.deepEqual(await closeForSleep(parts), {
    closed: [],
    held: [],
    left: [{ enclave: 'vault', reason: 'not within 0.01 s' }],
  });
  goOn();
  await closed.promise;
  t.like(await page(daemon), { state: 'closed' });
});
