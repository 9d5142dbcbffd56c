import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** Libuv has this many threads unless told otherwise. */
const poolThreads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);

/** Occupies every thread of the pool, in the kernel, until it is let go: no write can come forward meanwhile. */
function occupyPool(t: ExecutionContext, folder: string): () => Promise<void> {
  const fifo = join(folder, 'fifo');
  if (!existsSync(fifo)) execFileSync('mkfifo', [fifo]);
  // Each blocks until somebody opens the other end.
  const waiting = Array.from({ length: poolThreads }, () => open(fifo, 'r'));
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= (async () => {
      const other = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
      for (const handle of await Promise.all(waiting)) await handle.close();
      closeSync(other);
    })();
    return ended;
  };
  t.teardown(end);
  return end;
}

function fixture(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const root = join(folder, 'cgroup');
  mkdirSync(join(root, 'user.slice'), { recursive: true });
  const high = join(root, 'user.slice/memory.high');
  writeFileSync(high, 'max\n');
  const file = join(folder, 'leases.json');
  const book = LeaseBook.open(leaseFile(file));
  const leases = new Leases({
    book,
    ground: machineGround(false),
    boot: 'b',
    now: () => 1,
    // A write that nothing holds up ends well within it, on a busy machine too.
    deadlineMs: 500,
  });
  const knob = {
    root,
    version: 2,
    controller: 'memory',
    group: 'user.slice',
    knob: 'memory.high',
  } as const;
  const value = () => readFileSync(high, 'utf8').trim();
  /** The write after the next lease hangs, until the pool is let go. */
  const hang = (): Promise<() => Promise<void>> => {
    const { promise, resolve } = Promise.withResolvers<() => Promise<void>>();
    const put = book.put.bind(book);
    book.put = async (lease) => {
      await put(lease);
      book.put = put;
      resolve(occupyPool(t, folder));
    };
    return promise;
  };
  return { leases, knob, value, hang, file };
}

test.serial(
  'a write that blocks is given up after its deadline, with its lease kept',
  async (t) => {
    const { leases, knob, value, hang, file } = fixture(t);
    const hanging = hang();
    const asked = leases.set(knob, '1048576');
    const letGo = await hanging;
    t.deepEqual(await asked, { state: 'blocked' });
    t.is(value(), 'max');
    t.like(JSON.parse(readFileSync(file, 'utf8')), [{ wanted: '1048576', old: 'max' }]);
    await letGo();
    t.deepEqual(
      (await leases.releaseAll()).map(({ state }) => state),
      ['restored'],
    );
    t.is(value(), 'max');
    t.false(existsSync(file));
  },
);

test.serial('a write that comes late does not undo what was given back', async (t) => {
  const { leases, knob, value, hang, file } = fixture(t);
  const hanging = hang();
  const asked = leases.set(knob, '1048576');
  const letGo = await hanging;
  t.deepEqual(await asked, { state: 'blocked' });
  // It still runs: the lease stays until it is known what the knob says.
  t.like(await leases.releaseAll(), [{ state: 'failed' }]);
  t.true(existsSync(file));
  await letGo();
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
  t.is(value(), 'max');
  t.false(existsSync(file));
  t.deepEqual(await leases.set(knob, '8192'), { state: 'written', value: '8192' });
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
});
