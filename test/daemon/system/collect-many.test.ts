import test, { type ExecutionContext } from 'ava';
import { SlotCollector } from '../../../daemon/personas/slot-collect.ts';
import { retentionOf } from '../../../daemon/personas/slot-retention.ts';
import { putUpper, type Upper } from '../../../daemon/personas/slot-rows.ts';
import { type Collectable, collectTasks, planCollect } from '../../../daemon/system/collect.ts';
import { unusedLayers } from '../../../daemon/system/unused-layers.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { quietEngine } from '../../support/quiet-engine.ts';
import { startBench } from '../../support/slots.ts';

// Far more than one collection takes, with the limits that the daemon has.

const rooted = when(test, { root: true });
const slot = 's'.repeat(63);
const hex = (number: number, length: number) => number.toString(16).padStart(length, '0');

function upperOf(number: number): Upper {
  const root = { mode: 0o755, uid: 0, gid: 0 };
  const past = { stack: 's', below: [], state: 'sealed' as const, boot: 'b', createdMs: 0 };
  return { id: hex(number, 16), slot, bytes: 1, root, ...past };
}

/** A slot with that many uppers that nothing needs, beside that many layers that nothing names. */
async function crowded(t: ExecutionContext, uppers: number, layers: number) {
  const bench = await startBench(`${scratchFolder(t)}/persona`, {});
  t.teardown(() => bench.stop());
  const { store, slots } = bench;
  await bench.create(slot);
  const past = Array.from({ length: uppers }, (_, number) => upperOf(number));
  await store.commit((tx) => {
    for (const upper of past) putUpper(tx, upper);
    for (let number = 0; number < layers; number += 1)
      tx.run(
        `INSERT INTO layers (digest, kind, bytes, made, created) VALUES (?, 'base', 1000, 'created', 0)`,
        `sha256:${hex(number, 64)}`,
      );
  });
  for (const upper of past) slots.room.book.putUpper(upper);
  const collectors = [
    new SlotCollector(slots.room, retentionOf(1, 1)),
    unusedLayers(`${bench.root}/state`, store),
  ];
  const engine = quietEngine(store, collectTasks(collectors));
  await engine.recover();
  const left = async () => ({
    uppers: (await store.get('SELECT count(*) AS n FROM uppers'))?.n,
    layers: (await store.get('SELECT count(*) AS n FROM layers'))?.n,
  });
  return { collectors, engine, left };
}

type Answer = { removed: Collectable[]; more?: number; bytes: number };

rooted('what is too much for one collection goes in the next ones', async (t) => {
  const { collectors, engine, left } = await crowded(t, 4_000, 1_000);
  const gc = async () => {
    const { done } = await engine.submit(await planCollect(collectors, 0));
    const { status, result, error } = await done;
    t.is(status, 'done', error?.message);
    return result as unknown as Answer;
  };
  const first = await gc();
  t.is(first.removed.length, 1_000);
  t.is(first.bytes, 1_000);
  t.deepEqual(await left(), { uppers: 3_000, layers: 1_000 });
  for (let round = 0; round < 3; round += 1) await gc();
  t.deepEqual(await left(), { uppers: 0, layers: 1_000 });
  t.is((await gc()).bytes, 1_000_000);
  t.deepEqual(await left(), { uppers: 0, layers: 0 });
  t.deepEqual((await gc()).removed, []);
});

rooted('a larger plan of an earlier version ends, and its answer has the whole sum', async (t) => {
  const { collectors, engine, left } = await crowded(t, 4_000, 0);
  const params = { slots: (await collectors[0]!.find(4_000)).params, layers: [] };
  const { done } = await engine.submit({
    kind: 'system.gc',
    summary: 'remove 4000 unused things',
    ownerUid: 0,
    holds: [`slot:${slot}`],
    tasks: [
      { kind: 'system.forget', params },
      { kind: 'system.remove', params },
    ],
  });
  const { status, result, error } = await done;
  t.is(status, 'done', error?.message);
  const { removed, more, bytes } = result as unknown as Answer;
  t.deepEqual([removed.length, more, bytes], [1_000, 3_000, 4_000]);
  t.deepEqual(await left(), { uppers: 0, layers: 0 });
});
