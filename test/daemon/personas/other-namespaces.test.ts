import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { FlipWay } from '../../../daemon/kernel/flip.ts';
import { insideOf } from '../../../daemon/personas/busy.ts';
import { planRemove } from '../../../daemon/personas/slots.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { benchIn } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'unshare'] });
const ROOT = { uid: 0, gid: 0 };
const HOLD = 'echo ready; read word';

// A system has many services with a mount namespace of their own that follows the host's: they are not
// inside a slot, and are neither waited for nor ended.
for (const flip of ['beneath', 'symlink'] as FlipWay[])
  rooted(`a service whose namespace follows the host is not inside a slot: ${flip}`, async (t) => {
    const bench = await benchIn(t, scratchFolder(t), { ways: { flip } });
    await bench.create('work');
    await bench.swap('work', 'a');
    const script = 'echo ready; while read word; do cat "$1/etc/name"; echo; done';
    const service = (propagation: string) =>
      partner(
        t,
        'unshare',
        '--mount',
        '--propagation',
        propagation,
        'sh',
        '-c',
        script,
        'sh',
        bench.tree('work'),
      );
    const follows = service('slave');
    const apart = service('private');
    for (const one of [follows, apart]) t.is(await one.line(), 'ready');
    const inside = await insideOf(bench.slots.room, 'work');
    t.deepEqual(
      inside.map(({ pid, by }) => [pid, by]),
      [[apart.process.pid, 'namespace']],
    );
    // What merely has the tree among its mounts is not in the way of a swap, and not ended for one.
    await bench.swap('work', 'a', { busy: 'refuse' });
    await bench.swap('work', 'b', { busy: 'kill' });
    t.is(apart.process.exitCode, null);
    t.is(follows.process.exitCode, null);
    follows.say('');
    t.is(await follows.line(), 'b');
    if (flip === 'beneath') {
      apart.say('');
      t.is(await apart.line(), 'a');
    }
    t.is(readFileSync(`${bench.tree('work')}/etc/name`, 'utf8'), 'b');
    await apart.end();
    await bench.swap('work', 'a', { busy: 'refuse' });
  });

rooted('a slot that a namespace keeps is not removed, and stays as it is', async (t) => {
  t.timeout(60_000);
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const mine = `${bench.tree('work')}/etc/mine`;
  writeFileSync(mine, 'kept');
  const apart = partner(t, 'unshare', '--mount', '--propagation', 'private', 'sh', '-c', HOLD);
  t.is(await apart.line(), 'ready');
  const asked = { slot: 'work', discard: true, busy: 'kill' } as const;
  const { done } = await bench.engine.submit(planRemove(bench.slots.room, asked, ROOT));
  const { status, error } = await done;
  t.like({ status, code: error?.code }, { status: 'failed', code: 'slot-busy' });
  t.is(bench.slots.room.problems.get('work'), undefined);
  t.is(readFileSync(mine, 'utf8'), 'kept');
  t.regex(error?.message ?? '', new RegExp(`sh \\(pid ${apart.process.pid}\\)`));
  t.regex(error?.hint ?? '', /mount namespace of their own/);
  t.is(apart.process.exitCode, null);
  await apart.end();
  await bench.run(planRemove(bench.slots.room, asked, ROOT));
  t.is(bench.slots.room.book.find('work'), undefined);
});

/** What another user has mapped a file with: its line is longer than any that is read. */
const longMap = `chdir shift; my $name = "\\n" x 255; for (1 .. 200) { mkdir $name; chdir $name or die "$!" }
open my $from, '<', '/bin/cat'; local $/; my $all = <$from>;
open my $to, '>', 'p'; print $to $all; close $to; chmod 0755, 'p'; exec './p'`;
const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];

rooted(
  'another user, of whom it cannot be told what he has mapped, holds up no slot',
  async (t) => {
    t.timeout(60_000);
    const folder = scratchFolder(t);
    const bench = await benchIn(t, folder);
    await bench.create('work');
    await bench.swap('work', 'a');
    writeFileSync(`${bench.tree('work')}/etc/mine`, 'written');
    mkdirSync(`${folder}/theirs`);
    chownSync(`${folder}/theirs`, 65_534, 65_534);
    const long = partner(t, 'setpriv', ...asNobody, 'perl', '-e', longMap, `${folder}/theirs`);
    long.say('ready');
    t.is(await long.line(), 'ready');
    t.deepEqual(await insideOf(bench.slots.room, 'work'), []);
    const { keeper, book } = bench.slots.room;
    const first = book.current(book.slot('work'))!.upper;
    await bench.swap('work', 'b');
    while (keeper.has(first)) await keeper.ended(first, 100);
    t.is(book.upper(first).state, 'sealed');
    const asked = { slot: 'work', discard: true, busy: 'refuse' } as const;
    await bench.run(planRemove(bench.slots.room, asked, ROOT));
    t.is(book.find('work'), undefined);
  },
);
