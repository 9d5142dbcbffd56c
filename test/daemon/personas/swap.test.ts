import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { slotHistory } from '../../../daemon/personas/slot-pages.ts';
import { planCreate, planRemove, planRollback, planSwap } from '../../../daemon/personas/slots.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { type Bench, benchIn, layerFrom } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });
const ROOT = { uid: 0, gid: 0 };
const name = (bench: Bench, slot = 'work') => readFileSync(`${bench.tree(slot)}/etc/name`, 'utf8');
const mine = (bench: Bench, slot = 'work') => `${bench.tree(slot)}/etc/mine`;

rooted('a persona, another one, and back with what was written', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  t.is(name(bench), 'a');
  writeFileSync(mine(bench), 'kept');
  const second = await bench.swap('work', 'b');
  t.is(name(bench), 'b');
  t.false(existsSync(mine(bench)));
  t.like(second.result, {
    slot: 'work',
    resumed: false,
    generation: { number: 2, state: 'good', reason: 'swap' },
    previous: { number: 1 },
  });
  const third = await bench.swap('work', 'a');
  t.is(name(bench), 'a');
  t.is(readFileSync(mine(bench), 'utf8'), 'kept');
  t.like(third.result, { resumed: true, generation: { number: 3 } });
  const history = slotHistory(bench.slots.room, 'work');
  t.deepEqual(
    history.map(({ number }) => number),
    [3, 2, 1],
  );
  t.true(history.slice(1).every(({ endedMs }) => endedMs !== undefined));
  t.deepEqual(await bench.store.all('SELECT number, result FROM generations ORDER BY number'), [
    { number: 1, result: 'good' },
    { number: 2, result: 'good' },
    { number: 3, result: 'good' },
  ]);
});

rooted('fresh begins on an empty state and leaves the other one to go back to', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  writeFileSync(mine(bench), 'old');
  await bench.swap('work', 'a', { fresh: true });
  t.false(existsSync(mine(bench)));
  writeFileSync(mine(bench), 'new');
  await bench.rollback('work', { to: 1 });
  t.is(readFileSync(mine(bench), 'utf8'), 'old');
  await bench.rollback('work', { to: 2 });
  t.is(readFileSync(mine(bench), 'utf8'), 'new');
});

rooted('rollback goes back one good generation each time, never forth again', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await t.throwsAsync(bench.rollback('work'), { message: /no persona is active/ });
  await bench.swap('work', 'a');
  await t.throwsAsync(bench.rollback('work'), { message: /no good generation before it/ });
  await bench.swap('work', 'b');
  await bench.swap('work', 'a', { fresh: true });
  await bench.rollback('work');
  t.is(name(bench), 'b');
  const second = await bench.rollback('work');
  t.is(name(bench), 'a');
  t.like(second.result, { generation: { number: 5, reason: 'rollback' } });
  await t.throwsAsync(bench.rollback('work', { to: 5 }), { message: /it is active/ });
  await t.throwsAsync(bench.rollback('work', { to: 99 }), { message: /generation 99/ });
});

rooted('rollback to the clean base has nothing of the persona', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const result = await bench.rollback('work', { base: true });
  t.is(name(bench), 'base');
  t.is((result.result as { generation: { persona?: unknown } }).generation.persona, undefined);
  await bench.rollback('work', { to: 1 });
  t.is(name(bench), 'a');
});

rooted('a slot is given only to a user whose group is known', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const plan = () => planCreate(bench.slots.room, { name: 'theirs', owner: 1_999_999 }, ROOT);
  t.throws(plan, { message: /uid 1999999 has no account/ });
  await bench.create('mine');
  await t.throwsAsync(bench.create('mine'), { message: /exists already/ });
});

rooted('what was asked of a slot is not done to a later one of its name', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  const { room } = bench.slots;
  const first = { uid: 1234, gid: 1234 };
  await bench.create('work', { owner: 1234 });
  await bench.swap('work', 'b');
  await bench.swap('work', 'a');
  // Made while the slot is the first user's, as those are that wait in the queue.
  const waiting = [
    await planSwap(room, { slot: 'work', persona: 'a' }, first),
    await planSwap(room, { slot: 'work', persona: 'a', busy: 'kill' }, first),
    await planRollback(room, { slot: 'work', base: true }, first),
    planRemove(room, { slot: 'work', discard: true }, first),
  ];
  await bench.run(planRemove(room, { slot: 'work' }, first));
  await bench.create('work', { owner: 4321 });
  await bench.swap('work', 'b');
  writeFileSync(mine(bench), 'of the second');
  for (const plan of waiting)
    await t.throwsAsync(bench.run(plan), { code: 'slot-not-found' }, plan.summary);
  t.is(name(bench), 'b');
  t.is(readFileSync(mine(bench), 'utf8'), 'of the second');
  t.is(room.book.slot('work').current, 1);
});

rooted('several slots live side by side', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('one');
  await bench.create('two');
  await Promise.all([bench.swap('one', 'a'), bench.swap('two', 'b')]);
  t.is(name(bench, 'one'), 'a');
  t.is(name(bench, 'two'), 'b');
  writeFileSync(mine(bench, 'one'), 'x');
  await bench.swap('two', 'a');
  t.false(existsSync(mine(bench, 'two')));
  t.is(statSync(`${bench.root}/run/slots`).mode & 0o777, 0o711);
  t.like(statSync(`${bench.root}/run/slots/one`), { uid: 0, gid: 1234 });
  t.is(statSync(`${bench.root}/run/slots/one`).mode & 0o777, 0o750);
});

rooted('a throw-away slot keeps nothing', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('play', { ephemeral: true });
  await bench.swap('play', 'a');
  writeFileSync(mine(bench, 'play'), 'x');
  await bench.swap('play', 'b');
  await bench.swap('play', 'a');
  t.false(existsSync(mine(bench, 'play')));
});

rooted('programs inside: refused, ended, or waited for', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const inside = () =>
    partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  const first = inside();
  await first.line();
  const error = await t.throwsAsync(bench.swap('work', 'b', { busy: 'refuse' }));
  t.regex(error?.message ?? '', new RegExp(`sh \\(pid ${first.process.pid}\\)`));
  t.is(name(bench), 'a');
  const ended = new Promise((resolve) =>
    first.process.once('exit', (_, signal) => resolve(signal)),
  );
  await bench.swap('work', 'b', { busy: 'kill' });
  t.is(await ended, 'SIGTERM');
  t.is(name(bench), 'b');
  const second = inside();
  await second.line();
  const waiting = bench.swap('work', 'a', { busy: 'wait' });
  t.is(name(bench), 'b');
  second.say('bye');
  await waiting;
  t.is(name(bench), 'a');
});

rooted('a user may not end programs of others', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const other = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  await other.line();
  const user = { uid: 1234, gid: 1234 };
  const plan = await planSwap(bench.slots.room, { slot: 'work', persona: 'b', busy: 'kill' }, user);
  await t.throwsAsync(bench.run(plan), { message: /programs are running/ });
  t.is(other.process.exitCode, null);
});

rooted('an image that cannot be mounted leaves the slot as it was', async (t) => {
  const folder = scratchFolder(t);
  const bench = await benchIn(t, folder);
  await bench.create('work');
  await bench.swap('work', 'a');
  writeFileSync(`${folder}/broken`, Buffer.alloc(8192, 7));
  const broken = layerFrom(`${folder}/broken`, 'diff');
  const good = await bench.slots.room.source.persona('b');
  bench.slots.room.source.persona = async () => ({ ...good, layers: [broken, ...good.layers] });
  // Uppers in use have a record beside them; those kept ready have none and are empty.
  const uppers = bench.slots.room.uppers.folder('work');
  const inUse = () => readdirSync(uppers).filter((name) => name.endsWith('.json'));
  const before = inUse();
  const error = await t.throwsAsync(bench.swap('work', 'b'));
  t.regex(error?.message ?? '', /kernel refused|erofs/);
  t.is(name(bench), 'a');
  t.is(slotHistory(bench.slots.room, 'work').length, 1);
  t.deepEqual(inUse(), before);
  for (const id of readdirSync(uppers).filter((name) => !name.endsWith('.json')))
    if (!before.includes(`${id}.json`) && existsSync(`${uppers}/${id}/fs`))
      t.deepEqual(readdirSync(`${uppers}/${id}/fs`), []);
});

rooted('a dry run lists what a swap runs, and runs nothing', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  const plan = await planSwap(bench.slots.room, { slot: 'work', persona: 'a', busy: 'kill' }, ROOT);
  const dry = bench.engine.dryRun(plan);
  t.deepEqual(
    dry.tasks.map(({ kind, undo }) => `${kind} ${undo}`),
    [
      'slots.vacate-slot nothing',
      'slots.prepare-tree undone',
      'slots.commit-generation nothing',
      'slots.show-tree forward',
    ],
  );
  t.is(slotHistory(bench.slots.room, 'work').length, 0);
});

rooted('a slot is removed with all it had, after a word about its data', async (t) => {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  await bench.swap('work', 'b');
  writeFileSync(mine(bench), 'x');
  const { room } = bench.slots;
  t.throws(() => planRemove(room, { slot: 'work' }, ROOT), { message: /data that programs wrote/ });
  const holder = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', bench.tree('work'));
  await holder.line();
  await t.throwsAsync(bench.run(planRemove(room, { slot: 'work', discard: true }, ROOT)), {
    message: /programs are running/,
  });
  t.is(name(bench), 'b');
  await holder.end();
  await bench.run(planRemove(room, { slot: 'work', discard: true }, ROOT));
  t.false(existsSync(`${bench.root}/run/slots/work`));
  t.false(existsSync(`${bench.root}/state/slots/work`));
  t.deepEqual(await bench.store.all('SELECT * FROM uppers'), []);
  await bench.create('work');
  await bench.swap('work', 'a');
  t.is(name(bench), 'a');
});
