import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { SlotCollector } from '../../../daemon/personas/slot-collect.ts';
import { retentionOf } from '../../../daemon/personas/slot-retention.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import {
  type Bench,
  benchIn,
  joinedAhead,
  startBench,
  twoPersonas,
  untilJoined,
} from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });

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
  t.is(await joinedAhead(bench, 's'), undefined);
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

rooted('after a kill nothing of it is left, and the slot is as it was', async (t) => {
  const folder = scratchFolder(t);
  const program = fileURLToPath(new URL('../../support/slot-child.ts', import.meta.url));
  const words = ['--no-warnings', program, `${folder}/persona`, folder, '0', 'joined'];
  const child = spawnSync(process.execPath, words, { encoding: 'utf8' });
  t.is(child.signal, 'SIGKILL', child.stderr);
  const id = /joined (\w+)/.exec(child.stdout)?.[1] ?? '';
  const bench = await startBench(`${folder}/persona`, twoPersonas(folder));
  t.teardown(() => bench.stop());
  t.regex(id, /^[0-9a-f]{16}$/);
  t.false(readdirSync(bench.slots.room.uppers.folder('work')).includes(id));
  await bench.swap('work', 'a');
  t.is(readFileSync(`${bench.tree('work')}/etc/mine`, 'utf8'), 'precious');
});
