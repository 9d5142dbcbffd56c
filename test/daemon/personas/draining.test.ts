import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { slotPages } from '../../../daemon/personas/slot-pages.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { type Bench, benchIn } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'unshare'] });

/** One digest of all names, modes and contents below a folder. */
function hashOfTree(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const stat = statSync(join(folder, name));
    hash.update(`${name} ${stat.mode} ${stat.size} ${stat.mtimeMs}\n`);
    if (stat.isFile()) hash.update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex');
}

const upperOf = (bench: Bench, slot: string) =>
  bench.slots.room.book.current(bench.slots.room.book.slot(slot))!.upper;
const pathOf = (bench: Bench, slot: string, id: string) => bench.slots.room.uppers.path(slot, id);
const stateOf = (bench: Bench, id: string) => bench.slots.room.book.upper(id).state;

/** Waits, without a deadline of its own, until an upper has left `draining`. */
async function untilEnded(bench: Bench, id: string): Promise<void> {
  while (stateOf(bench, id) === 'draining' || bench.slots.room.keeper.has(id)) {
    await bench.slots.room.keeper.ended(id, 100);
    await pause(5);
  }
}

rooted(
  'A, B, A with a writer, a program inside and a service of its own namespace: one superblock',
  async (t) => {
    const bench = await benchIn(t, scratchFolder(t));
    await bench.create('work');
    await bench.swap('work', 'a');
    const tree = bench.tree('work');
    const device = statSync(tree).dev;
    const first = upperOf(bench, 'work');
    const write =
      'exec 5>> "$1/etc/log"; echo ready; while read word; do echo "$word" >&5; echo done; done';
    const writer = partner(t, 'sh', '-c', write, 'sh', tree);
    const inside = partner(
      t,
      'sh',
      '-c',
      'cd "$1/etc"; echo ready; while read word; do pwd >/dev/null; cat name; echo; done',
      'sh',
      tree,
    );
    const service = partner(
      t,
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      'echo ready; while read w; do cat "$1/etc/name"; echo; done',
      'sh',
      tree,
    );
    for (const one of [writer, inside, service]) t.is(await one.line(), 'ready');
    await bench.swap('work', 'b');
    writer.say('one');
    t.is(await writer.line(), 'done');
    inside.say('');
    t.is(await inside.line(), 'a');
    service.say('');
    t.is(await service.line(), 'a'); // what it saw when its namespace was made
    t.is(readFileSync(`${tree}/etc/name`, 'utf8'), 'b');
    await pause(1_100); // longer than a replaced tree is kept without being looked at
    t.is(stateOf(bench, first), 'draining');

    const back = await bench.swap('work', 'a');
    t.like(back.result, { resumed: true });
    t.is(upperOf(bench, 'work'), first);
    t.is(statSync(tree).dev, device); // the same superblock, not a second one on the same upper
    writer.say('two');
    t.is(await writer.line(), 'done');
    t.is(readFileSync(`${tree}/etc/log`, 'utf8'), 'one\ntwo\n');

    await bench.swap('work', 'b');
    for (const one of [writer, inside, service]) await one.end();
    await untilEnded(bench, first);
    t.is(stateOf(bench, first), 'sealed');
    const sealed = hashOfTree(`${pathOf(bench, 'work', first)}/fs`);

    await bench.swap('work', 'a');
    t.not(upperOf(bench, 'work'), first);
    t.is(readFileSync(`${tree}/etc/log`, 'utf8'), 'one\ntwo\n');
    writeFileSync(`${tree}/etc/log`, 'changed');
    writeFileSync(`${tree}/etc/more`, 'more');
    t.is(hashOfTree(`${pathOf(bench, 'work', first)}/fs`), sealed);
  },
);

rooted('a tree nobody uses ends by itself; what was not written to is dropped', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const empty = upperOf(bench, 'work');
  await bench.swap('work', 'b');
  writeFileSync(`${bench.tree('work')}/etc/mine`, Buffer.alloc(100_000, 1));
  const written = upperOf(bench, 'work');
  await bench.swap('work', 'a', { fresh: true });
  await untilEnded(bench, empty);
  await untilEnded(bench, written);
  t.is(stateOf(bench, empty), 'gone');
  t.false(existsSync(pathOf(bench, 'work', empty)));
  t.is(stateOf(bench, written), 'sealed');
  t.true((bench.slots.room.book.upper(written).bytes ?? 0) >= 100_000);
  const trees = readMountinfo().filter(({ source }) => source.startsWith('persona:work:'));
  t.is(trees.filter(({ at }) => at.startsWith(bench.root)).length, 1);
  const page = (await slotPages(bench.slots.room, 'work'))[0]!;
  t.like(page, { state: 'active', generations: 3, processes: [], draining: [] });
});

rooted('status names who is inside, and what still drains', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const old = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  await old.line();
  await bench.swap('work', 'b');
  const current = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  await current.line();
  for (;;) {
    const page = (await slotPages(bench.slots.room, 'work'))[0]!;
    if (page.draining[0]?.holders.length === 1) {
      t.is(page.processes[0]?.pid, current.process.pid);
      t.is(page.draining[0].holders[0]?.pid, old.process.pid);
      t.is(page.draining[0].generation.number, 1);
      return;
    }
    await pause(20);
  }
});

rooted('a held writable layer that was let go is never mounted a second time', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const first = upperOf(bench, 'work');
  const holder = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  await holder.line();
  await bench.swap('work', 'b');
  // As after a restart of the daemon: the program is still there, our hold is not.
  await bench.slots.room.keeper.end('work', 0);
  const error = await t.throwsAsync(bench.swap('work', 'a'));
  t.is((error as { code?: string }).code, 'slot-busy');
  t.is(readFileSync(`${bench.tree('work')}/etc/name`, 'utf8'), 'b');
  await holder.end();
  await untilEnded(bench, first);
  await bench.swap('work', 'a');
  t.is(readFileSync(`${bench.tree('work')}/etc/name`, 'utf8'), 'a');
});
