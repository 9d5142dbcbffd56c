import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Busy } from '../../../daemon/personas/busy.ts';
import { planRemove } from '../../../daemon/personas/slots.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { type Bench, benchIn } from '../../support/slots.ts';

// A removal that waits: what programs write meanwhile is not given up without a word.

const rooted = when(test, { root: true, tools: ['mkfs.erofs'] });
const ROOT = { uid: 0, gid: 0 };
const mine = (bench: Bench) => `${bench.tree('work')}/etc/mine`;
const written = (bench: Bench) => readFileSync(mine(bench), 'utf8');

/** A slot in which nothing is written, with a program inside that is ready to write. */
async function occupied(t: ExecutionContext, script: string) {
  const bench = await benchIn(t, scratchFolder(t));
  await bench.create('work');
  await bench.swap('work', 'a');
  const program = partner(t, 'sh', '-c', `cd "$1"; ${script}`, 'sh', bench.tree('work'));
  await program.line();
  return { bench, program };
}

/** Asks for the removal while nothing is written. */
async function remove(bench: Bench, busy: Busy, discard = false) {
  const plan = planRemove(bench.slots.room, { slot: 'work', busy, discard }, ROOT);
  return (await bench.engine.submit(plan)).done;
}

const refused = { status: 'failed', error: { code: 'in-use' } } as const;

for (const { busy, script } of [
  { busy: 'wait', script: 'echo ready; read w; echo saved >etc/mine' },
  { busy: 'kill', script: 'trap "echo saved >etc/mine; exit" TERM; echo ready; read w' },
] as const)
  rooted(`what a program leaves that is inside stays: ${busy}`, async (t) => {
    const { bench, program } = await occupied(t, script);
    const end = remove(bench, busy);
    if (busy === 'wait') program.say('now');
    t.like(await end, refused);
    t.is(written(bench), 'saved\n');
    await bench.swap('work', 'b');
    await bench.swap('work', 'a');
    t.is(written(bench), 'saved\n');
    t.like(await remove(bench, 'refuse', true), { status: 'done' });
    t.false(existsSync(`${bench.root}/state/slots/work`));
  });

rooted(
  'what is written in an earlier tree while the trees end stays, and the slot is shown again',
  async (t) => {
    const { bench, program } = await occupied(t, 'echo ready; read w; echo saved >etc/mine');
    await bench.swap('work', 'b');
    const end = remove(bench, 'refuse');
    for (let tries = 0; existsSync(`${bench.tree('work')}/etc`); tries += 1) {
      if (tries > 1_000) throw new Error('the tree was not taken off');
      await pause(10);
    }
    program.say('now');
    t.like(await end, refused);
    t.is(readFileSync(`${bench.tree('work')}/etc/name`, 'utf8'), 'b');
    await bench.swap('work', 'a');
    t.is(written(bench), 'saved\n');
  },
);

rooted('where nothing was written a removal that waited removes', async (t) => {
  const { bench, program } = await occupied(t, 'echo ready; read w');
  const end = remove(bench, 'wait');
  program.say('now');
  t.like(await end, { status: 'done' });
  t.false(existsSync(`${bench.root}/state/slots/work`));
});

rooted(
  'where nothing was written a removal that did not come to its end is asked for again',
  async (t) => {
    const { bench, program } = await occupied(t, 'echo ready; read w');
    await bench.swap('work', 'b');
    t.like(await remove(bench, 'refuse'), { status: 'failed', error: { code: 'slot-busy' } });
    await program.end();
    t.like(await remove(bench, 'refuse'), { status: 'done' });
  },
);
