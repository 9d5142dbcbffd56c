import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open, readdir, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { mountImage } from '../support/mount-image.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { run, when } from '../support/needs.ts';
import { divide, randomFrom, StateBuilder, survivors } from './crash-states.ts';
import { Ledger } from './ledger.ts';
import { copyImage, kinds, needsRecordedDisk, startRecordedDisk } from './recorded-disk.ts';
import { type LogEntry, readLog } from './write-log.ts';

// The machinery itself: a disk of which the past is known.

const write = (offset: number, end: number): LogEntry => ({
  kind: 'write',
  offset,
  length: 1024,
  at: end - 1024,
  end,
});
const flush = (end: number): LogEntry => ({ kind: 'flush', offset: 0, length: 0, at: end, end });

test('what a flush follows is durable, the rest is open', (t) => {
  const entries = [write(0, 2000), flush(3000), write(1, 5000), write(2, 7000), flush(8000)];
  t.is(divide(entries, 2500).durable.length, 0);
  t.is(divide(entries, 2500).open.length, 1);
  t.deepEqual(divide(entries, 7000), { durable: entries.slice(0, 2), open: entries.slice(2, 4) });
  t.is(divide(entries, 8000).durable.length, 5);
});

test('open writes are lost, kept, or survive in pieces of sectors', (t) => {
  const open = Array.from({ length: 100 }, (_, at) => write(at * 4096, 10_000 * (at + 1)));
  t.deepEqual(survivors(open, 'lost', Math.random), []);
  t.is(survivors(open, 'kept', Math.random).length, 100);
  const sizes = new Set<number>();
  const counts = new Set<number>();
  for (let seed = 0; seed < 50; seed += 1) {
    const some = survivors(open, 'some', randomFrom(seed));
    counts.add(some.length);
    for (const { offset, at, length } of some) {
      const from = open[Math.floor(offset / 4096)];
      t.is(at - (from?.at ?? 0), offset % 4096, 'a piece keeps its bytes');
      sizes.add(length);
    }
  }
  t.true(counts.size > 10);
  t.deepEqual([...sizes].sort(), [1024, 512]);
  for (let seed = 0; seed < 50; seed += 1) {
    const pieces = survivors(open, 'some', randomFrom(seed), [8192 + 512]);
    t.true(pieces.every(({ offset, length }) => offset >> 12 !== 2 || length === 1024));
  }
});

test('the ledger allows what was answered, and what was on its way', async (t) => {
  let position = 0;
  const ledger = new Ledger(() => position);
  const at = (now: number) => {
    position = now;
  };
  at(10);
  await ledger.ask('slot:x', async () => {
    at(20);
    return { persona: 'a' };
  });
  at(30);
  await ledger.ask('slot:x', async () => {
    at(40);
    return { persona: 'b' };
  });
  await t.throwsAsync(ledger.ask('slot:x', () => Promise.reject(new Error('refused'))));
  const found = (persona: string) => new Map([['slot:x', { persona }]]);
  t.deepEqual(ledger.allowed('slot:x', 5), [null]);
  t.deepEqual(ledger.allowed('slot:x', 15), [null, { persona: 'a' }]);
  t.deepEqual(ledger.allowed('slot:x', 25), [{ persona: 'a' }]);
  t.deepEqual(ledger.allowed('slot:x', 35), [{ persona: 'a' }, { persona: 'b' }]);
  t.deepEqual(ledger.judge(found('a'), 35), []);
  t.deepEqual(ledger.judge(found('b'), 45), []);
  t.is(ledger.judge(found('a'), 45).length, 1);
  t.is(ledger.judge(new Map(), 45).length, 1, 'what was answered must be there');
  t.is(ledger.judge(new Map(), 15).length, 0);
  t.is(ledger.judge(new Map([['slot:y', null]]), 45).length, 1);
});

interface Disk {
  at: string;
  position(): number;
  /** Names in the root folder, with their content, after a cut at a position. */
  after(position: number, fate: 'lost' | 'kept'): Promise<Record<string, string>>;
}

async function disk(t: ExecutionContext): Promise<Disk> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-recorded-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const at = join(folder, 'at');
  const recorded = await startRecordedDisk(join(folder, 'disk'), at, 64);
  t.teardown(() => recorded.end());
  return {
    at,
    position: recorded.position,
    async after(position, fate) {
      const [past, image] = [join(folder, 'past'), join(folder, 'image')];
      copyImage(recorded.blank, past);
      const builder = new StateBuilder(past, recorded.log, readLog(recorded.log));
      builder.build({ position, fate }, image, Math.random);
      const place = join(folder, 'after');
      run('mkdir', '-p', place);
      mountImage(image, place);
      const names = (await readdir(place)).filter((name) => name !== 'lost+found');
      const content = names.map((name) => [name, readFileSync(join(place, name), 'utf8')]);
      await unmountBelow(place);
      run('e2fsck', '-fn', image);
      return Object.fromEntries(content);
    },
  };
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync();
  await handle.close();
}

when(test, needsRecordedDisk(kinds.ext4))(
  'a recorded disk keeps what was synced and nothing else',
  async (t) => {
    const { at, position, after } = await disk(t);
    const file = join(at, 'file');
    const other = join(at, 'other');
    await writeFile(file, 'first');
    await writeFile(other, 'never synced');
    const unsynced = position();
    await sync(file);
    const synced = position();
    t.true(synced > unsynced);
    await writeFile(join(at, 'new'), 'second');
    await sync(join(at, 'new'));
    await rename(join(at, 'new'), file);
    const renamed = position();
    await sync(at);
    const whole = position();
    t.deepEqual(await after(unsynced, 'kept'), {}, 'nothing reaches this disk unasked');
    t.like(await after(synced, 'lost'), { file: 'first' });
    t.is((await after(synced, 'lost')).other ?? '', '', 'a name without bytes');
    t.like(await after(renamed, 'lost'), { file: 'first', new: 'second' });
    const last = await after(whole, 'lost');
    t.like(last, { file: 'second' });
    t.false('new' in last);
  },
);
