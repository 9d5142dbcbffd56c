import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { run, when } from '../../support/needs.ts';
import {
  type Asked,
  ask,
  mustDo as done,
  furnish,
  type Methods,
  rootRequest as request,
  smallDisk,
  smallTree,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// SECURITY 24, on a real file system that is really full.

/** A small disk with a furnished daemon on it. */
async function ground(t: ExecutionContext) {
  const { folder, root } = smallDisk(t, 160);
  let atPoint = async (_: string): Promise<void> => undefined;
  const daemon = await startSilent(root, { faults: { at: (point) => atPoint(point) } });
  t.teardown(() => daemon.stop());
  await furnish(daemon, folder);
  return {
    daemon,
    root,
    place: (name: string) => ({ kind: 'path' as const, path: smallTree(folder, name) }),
    shown: () => readFileSync(join(root, 'run/slots/work/root/etc/name'), 'utf8'),
    onPoint: (work: (point: string) => Promise<void>) => {
      atPoint = work;
    },
  };
}

/** Writes until not one block is left. */
function fill(root: string): void {
  for (const [name, bytes] of [
    ['large', 1 << 20],
    ['small', 4096],
    ['last', 1],
  ] as const)
    try {
      for (let n = 0; ; n++) writeFileSync(join(root, `fill-${name}-${n}`), Buffer.alloc(bytes, 1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
}

/** Gives back what `fill` took. */
function empty(root: string): void {
  run('find', root, '-xdev', '-maxdepth', '1', '-name', 'fill-*', '-delete');
}

const needs = { root: true, tools: ['mkfs.ext4', 'mount', 'truncate', 'bwrap'] };

when(test, needs)('on a full disk new work is refused; rollback and removal succeed', async (t) => {
  const { daemon, root, place, shown } = await ground(t);
  fill(root);
  for (const asked of [
    (m: Methods) => m['persona.create']({ name: 'c', base: 'base', tree: place('a') }, request),
    (m: Methods) => m['slot.swap']({ slot: 'work', persona: 'a' }, request),
  ]) {
    const error = await t.throwsAsync(ask(daemon, asked));
    t.is((error as unknown as { code: string }).code, 'no-space');
  }
  t.is(shown(), 'b');
  const back = await ask(daemon, (m) => m['slot.rollback']({ slot: 'work' }, request));
  t.is(back.status, 'done', JSON.stringify(back));
  t.is(shown(), 'a');
  for (const asked of [
    (m: Methods) => m['slot.rm']({ slot: 'work', discard: true }, request),
    (m: Methods) => m['persona.rm']({ persona: 'b' }, request),
    (m: Methods) => m['system.gc']({}, request),
  ]) {
    const result = await ask(daemon, asked);
    t.is(result.status, 'done', JSON.stringify(result));
  }
  t.is(daemon.engine.refusing(), undefined, 'the journal was written all the time');
});

when(test, needs)('a daemon stops on a full disk, and lets go of all it has', async (t) => {
  const { root } = smallDisk(t, 64);
  const daemon = await startSilent(root);
  const stop = stoppable(t, daemon);
  await done(daemon, (m) => m['slot.create']({ name: 'work' }, request));
  fill(root);
  await t.notThrowsAsync(stop());
  const next = await startSilent(root);
  t.teardown(() => next.stop());
  t.is(next.degraded, undefined);
  t.truthy(next.rooms.methods(next.engine).status.slots);
});

when(test, needs)('a swap while the disk fills up, at each of its points', async (t) => {
  const { daemon, root, shown, onPoint } = await ground(t);
  const swap: Asked = (m) => m['slot.swap']({ slot: 'work', persona: 'a', fresh: true }, request);
  const back: Asked = (m) => m['slot.rollback']({ slot: 'work' }, request);
  const points: string[] = [];
  onPoint(async (point) => void points.push(point));
  await done(daemon, swap);
  await done(daemon, back);
  for (const [index, point] of points.entries()) {
    let count = 0;
    onPoint(async () => {
      if (count++ === index) fill(root);
    });
    const result = await ask(daemon, swap);
    t.true(['done', 'failed'].includes(result.status), `${point}: ${JSON.stringify(result)}`);
    t.deepEqual(daemon.engine.open(), [], point);
    t.is(daemon.engine.refusing(), undefined, point);
    onPoint(async () => undefined);
    t.is(shown(), result.status === 'done' ? 'a' : 'b', point);
    if (result.status === 'done') await done(daemon, back);
    empty(root);
  }
});
