import test from 'ava';
import { StatedFacts } from '../../../daemon/profiles/stated.ts';
import type { Store } from '../../../daemon/store/store.ts';

/** A store whose reads are let through one by one. */
function slowStore() {
  const rows: Record<number, { app: string; fact: string; value: string }[]> = {};
  const waiting: (() => void)[] = [];
  const all = async (_sql: string, owner: number) => {
    const found = (rows[owner] ?? []).map((row) => ({ ...row, owner, date: 1 }));
    await new Promise<void>((go) => waiting.push(go));
    return found;
  };
  return { rows, store: { all } as unknown as Store, waiting };
}

/** Lets reads through until the work is done. */
async function through(waiting: (() => void)[], work: Promise<void>): Promise<void> {
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  while (!done) {
    waiting.shift()?.();
    await new Promise(setImmediate);
  }
  await ended;
}

const memory = (stated: StatedFacts, uid: number) =>
  stated.layers(uid).flatMap((layer) => layer.ofId('x').map(({ values }) => values.memory));

test('what is stated while it is read is not missed, and what was read before counts until then', async (t) => {
  const { rows, store, waiting } = slowStore();
  const stated = new StatedFacts(store);
  rows[-1] = [{ app: 'x', fact: 'memory', value: '1' }];
  await through(waiting, stated.load(5));
  t.deepEqual(memory(stated, 5), [1]);
  stated.changed(-1);
  t.deepEqual(memory(stated, 5), [1]);
  const work = stated.load(5);
  await new Promise(setImmediate);
  // The old rows were read; now others are committed.
  rows[-1] = [{ app: 'x', fact: 'memory', value: '2' }];
  stated.changed(-1);
  await through(waiting, work);
  t.deepEqual(memory(stated, 5), [2]);
});

test('only who has stated nothing is forgotten', async (t) => {
  const { rows, store, waiting } = slowStore();
  const stated = new StatedFacts(store);
  rows[5] = [{ app: 'x', fact: 'memory', value: '5' }];
  await through(waiting, stated.load(5));
  for (let uid = 1_000; uid < 1_600; uid += 1) await through(waiting, stated.load(uid));
  t.deepEqual(memory(stated, 5), [5]);
});
