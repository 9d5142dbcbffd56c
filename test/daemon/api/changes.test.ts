import { readFileSync } from 'node:fs';
import test from 'ava';
import type { Rooms } from '../../../daemon/api/rooms.ts';
import type { Plan } from '../../../daemon/changes/change.ts';
import { connect } from '../../../ipc/client.ts';
import type { ChangeEvent } from '../../../ipc/methods/shapes.ts';
import { when } from '../../support/needs.ts';
import { groupGid, outcomesOf, rootClient, startTestApi, users } from './harness.ts';

const rooted = when(test, { root: true });

/** A collection that waits at the gate `gc`. */
async function setUp(t: Parameters<typeof startTestApi>[0]) {
  const held: { plan?: Plan } = {};
  const rooms: Partial<Rooms> = { 'system.gc': () => ({ plan: held.plan as Plan }) };
  const served = await startTestApi(t, rooms);
  held.plan = served.gatePlan('gc', 0);
  return { ...served, client: await rootClient(t, served.run) };
}

rooted('a change answers with its number, its plan or its result', async (t) => {
  const { client, gates, engine } = await setUp(t);
  const { plan } = await client.call('system.gc', { dryRun: true });
  t.deepEqual(plan?.tasks, [
    { kind: 'test.gate', params: 'gc', summary: 'wait at gc', undo: 'undone' },
  ]);
  t.deepEqual(await engine.list(10), []);
  t.deepEqual(await client.call('system.gc', {}), { changeId: 1 });
  gates.get('gc').resolve();
  const waited = await client.call('system.gc', { wait: true });
  t.deepEqual(waited, { changeId: 2, result: { removed: [], bytes: 7 } });
});

rooted('who waits hears of a change that takes longer', async (t) => {
  const { client, gates } = await setUp(t);
  const events: ChangeEvent[] = [];
  const onEvent = (event: ChangeEvent) => {
    events.push(event);
    gates.get('gc').resolve();
  };
  await client.call('system.gc', { wait: true }, { onEvent });
  t.like(events[0], { changeId: 1, status: 'doing', task: { index: 0, summary: 'wait at gc' } });
});

rooted('who follows what is not started any more is told so', async (t) => {
  const { client, gates, engine } = await setUp(t);
  for (const changeId of [1, 2]) t.deepEqual(await client.call('system.gc', {}), { changeId });
  engine.refuse('the journal cannot be written');
  await t.throwsAsync(
    client.follow(2, () => {}),
    { code: 'daemon-degraded', message: /the journal/ },
  );
  // What runs goes on, and is followed to its end.
  const end = client.follow(1, () => gates.get('gc').resolve());
  t.like(await end, { changeId: 1, status: 'done' });
});

rooted('a failure comes with its code, hint and change', async (t) => {
  const { client, engine } = await setUp(t);
  const waiting = client.call('system.gc', { wait: true });
  while (engine.open().length === 0) await client.call('daemon.ping', {});
  const { change } = await client.call('change.abort', { change: 1 });
  t.is(change.status, 'aborted');
  const error = await t.throwsAsync(waiting, { code: 'change-aborted' });
  t.truthy(error);
  await t.throwsAsync(client.call('change.abort', { change: 1 }), { code: 'change-not-abortable' });
  await t.throwsAsync(client.call('change.continue', { change: 1 }), { code: 'change-not-stuck' });
  await t.throwsAsync(client.call('change.show', { change: 99 }), { code: 'change-not-found' });
});

rooted('a change goes on when the client that waits disconnects', async (t) => {
  const { client, gates, run, engine } = await setUp(t);
  const waiting = await connect([`${run}/control.sock`]);
  const answer = waiting.call('system.gc', { wait: true });
  while (engine.open().length === 0) await client.call('daemon.ping', {});
  waiting.close();
  await t.throwsAsync(answer, { code: 'connection-lost' });
  t.like(await client.call('change.show', { change: 1 }), { change: { status: 'doing' } });
  gates.get('gc').resolve();
  t.is((await client.follow(1, () => {})).status, 'done');
});

rooted('a follower hears the end, and one that comes late hears it at once', async (t) => {
  const { client, gates } = await setUp(t);
  await client.call('system.gc', {});
  const events: ChangeEvent[] = [];
  const following = client.follow(1, (event) => {
    events.push(event);
    gates.get('gc').resolve();
  });
  t.like(await following, { status: 'done', result: { bytes: 7 } });
  t.is(events[0]?.status, 'doing');
  t.is((await client.follow(1, () => {})).status, 'done');
});

rooted('many followers on one connection are refused, and it stays usable', async (t) => {
  const { client, gates } = await setUp(t);
  await client.call('system.gc', {});
  const followers: Promise<ChangeEvent>[] = [];
  for (let n = 0; n < 64; n += 1) {
    const heard = Promise.withResolvers<void>();
    followers.push(client.follow(1, () => heard.resolve()));
    await heard.promise;
  }
  await t.throwsAsync(
    client.follow(1, () => {}),
    { code: 'too-many-requests' },
  );
  t.is((await client.call('daemon.ping', {})).version, '1.2.3');
  gates.get('gc').resolve();
  await Promise.all(followers);
  await client.follow(1, () => {});
});

rooted('lists and status are filtered by owner', async (t) => {
  const { client, engine, gatePlan, run, gates } = await setUp(t);
  await engine.submit(gatePlan('mine', users.owner));
  await engine.submit(gatePlan('roots', 0));
  t.is((await client.call('change.list', {})).changes.length, 2);
  t.like(await client.call('daemon.status', {}), {
    caller: { uid: 0, access: 'root' },
    changes: { length: 2 },
  });
  const asked = [
    ['change.show', { change: 1 }],
    ['change.show', { change: 2 }],
  ] as const;
  t.deepEqual(await outcomesOf(users.owner, [groupGid], run, asked), ['ok', 'permission-denied']);
  for (const name of ['mine', 'roots']) gates.get(name).resolve();
});

test('the client loads nothing but node:net and itself', (t) => {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = (url: URL) => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    const text = readFileSync(url, 'utf8').replace(/^import type [\s\S]*?;$/gm, '');
    for (const [, name = ''] of text.matchAll(/(?:from|import\()\s*'([^']+)'/g)) {
      if (name.startsWith('.')) visit(new URL(name, url));
      else packages.add(name);
    }
  };
  visit(new URL('../../../ipc/client.ts', import.meta.url));
  t.deepEqual([...packages], ['node:net']);
});
