import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { upperInUse } from '../../../daemon/kernel/overlay.ts';
import { SlotCollector } from '../../../daemon/personas/slot-collect.ts';
import { retentionOf } from '../../../daemon/personas/slot-retention.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { type Bench, benchIn } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });

/** The writable layer that is mounted though no row names it: that of the tree joined ahead. */
async function joined({ slots }: Bench, slot: string): Promise<string | undefined> {
  const { uppers, book, state } = slots.room;
  for (const id of readdirSync(uppers.folder(slot))) {
    if (id.endsWith('.json') || book.knowsUpper(id)) continue;
    // One that is only just being made ready has no folders in it yet.
    if (await upperInUse(uppers.path(slot, id), state).catch(() => false)) return id;
  }
  return undefined;
}

async function untilJoined(bench: Bench, slot: string): Promise<string> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    const id = await joined(bench, slot);
    if (id !== undefined) return id;
    await pause(10);
  }
  throw new Error('no tree was joined ahead');
}

/** A slot on b whose last state of a has ended, with the tree of a joined again. */
async function onB(bench: Bench): Promise<string> {
  await bench.create('s');
  await bench.swap('s', 'a');
  writeFileSync(`${bench.tree('s')}/etc/written`, 'in a');
  await bench.swap('s', 'b');
  return await untilJoined(bench, 's');
}

rooted('what was active before is joined ahead, and is what the swap back shows', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const id = await onB(bench);
  await bench.swap('s', 'a');
  const { book } = bench.slots.room;
  t.is(book.current(book.slot('s'))?.upper, id);
  t.is(readFileSync(`${bench.tree('s')}/etc/name`, 'utf8'), 'a');
  t.is(readFileSync(`${bench.tree('s')}/etc/written`, 'utf8'), 'in a');
});

rooted('a fresh swap does not take it: what was written before is not there', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const id = await onB(bench);
  await bench.swap('s', 'a', { fresh: true });
  const { book } = bench.slots.room;
  t.not(book.current(book.slot('s'))?.upper, id);
  t.false(readdirSync(`${bench.tree('s')}/etc`).includes('written'));
});

rooted('it is given up before anything below it is collected', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const id = await onB(bench);
  const collector = new SlotCollector(bench.slots.room, retentionOf(1, 1));
  await collector.remove({ fault: async () => undefined }, [
    { slot: 's', generations: [], uppers: [] },
  ]);
  t.is(await joined(bench, 's'), undefined);
  t.false(readdirSync(bench.slots.room.uppers.folder('s')).includes(id));
});

rooted('a stop leaves nothing of it behind', async (t) => {
  const folder = scratchFolder(t);
  const bench = await benchIn(t, folder);
  const id = await onB(bench);
  const uppers = bench.slots.room.uppers.folder('s');
  await bench.stop();
  t.false(readdirSync(uppers).includes(id));
});
