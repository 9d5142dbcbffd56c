import { closeSync, openSync, readFileSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import { silentLog } from '../../../daemon/changes/log.ts';
import { partitionName } from '../../../daemon/compose/fast-launches.ts';
import { settingsOf } from '../../../daemon/config/settings.ts';
import { putPartition } from '../../../daemon/fast/fast-rows.ts';
import type { FastPartition } from '../../../daemon/fast/partition.ts';
import { FastRoom } from '../../../daemon/fast/room.ts';
import { bootId } from '../../../daemon/kernel/clock.ts';
import { openStore } from '../../../daemon/store/database.ts';
import type { Hooks } from '../../../daemon/wiring.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import {
  ask,
  keepingNothing,
  type Methods,
  mustDo,
  rootRequest,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// Fast partitions get another size while programs work in them: real memory file systems, changes of the real engine.

const MiB = 2 ** 20;
const rooted = when(test, { root: true });

/** A user who is not root. */
const caller: Request['caller'] = {
  ...rootRequest.caller,
  uid: 31_001,
  gid: 31_001,
  socket: 'user',
};
const request: Request = { ...rootRequest, caller, level: 'any' };

const create =
  (bytes: number, on: 'ram' | 'nvme' = 'ram') =>
  (methods: Methods) =>
    methods['fast.create']({ name: 'work', bytes, on }, request);
const resize =
  (bytes: number, name = 'work') =>
  (methods: Methods) =>
    methods['fast.resize']({ name, bytes }, request);
const remove = (methods: Methods) => methods['fast.rm']({ name: 'work' }, request);

/** A daemon, what it says of the one partition, and how large that really is. */
async function started(t: ExecutionContext, folder: string, hooks: Hooks = {}) {
  const daemon = await startSilent(folder, hooks, { settings: keepingNothing });
  const stop = stoppable(t, daemon);
  const at = join(folder, 'run/fast/work');
  const sizes = async () => {
    const { partitions } = await daemon.rooms.methods(daemon.engine)['fast.list']({}, request);
    const { blocks, bsize } = statfsSync(at);
    return [partitions[0]?.bytes, blocks * bsize];
  };
  return { daemon, stop, at, sizes };
}

rooted(
  'it grows under a program that has found it full, and is as large after a restart',
  async (t) => {
    const folder = scratchFolder(t);
    const first = await started(t, folder);
    await mustDo(first.daemon, create(4 * MiB));
    const file = openSync(join(first.at, 'file'), 'wx');
    t.teardown(() => closeSync(file));
    const piece = Buffer.alloc(4 * MiB, 'x');
    t.is(writeSync(file, piece), 4 * MiB);
    t.throws(() => writeSync(file, piece), { code: 'ENOSPC' });
    await mustDo(first.daemon, resize(16 * MiB));
    t.is(writeSync(file, piece), 4 * MiB);
    t.deepEqual(await first.sizes(), [16 * MiB, 16 * MiB]);
    await first.stop();
    const second = await started(t, folder);
    t.deepEqual(await second.sizes(), [16 * MiB, 16 * MiB]);
    t.true(readFileSync(join(second.at, 'file')).equals(Buffer.alloc(8 * MiB, 'x')));
  },
);

rooted('it gets smaller, and never smaller than what it holds', async (t) => {
  const { daemon, at, sizes } = await started(t, scratchFolder(t));
  await mustDo(daemon, create(16 * MiB));
  writeFileSync(join(at, 'file'), Buffer.alloc(5 * MiB));
  await t.throwsAsync(ask(daemon, resize(5 * MiB - 4096)), {
    code: 'bad-value',
    message: /the size: it holds 5 MiB in 2 files/,
  });
  await t.throwsAsync(ask(daemon, resize(1000)), { code: 'bad-value', message: /at least 1 MiB/ });
  t.deepEqual(await sizes(), [16 * MiB, 16 * MiB]);
  await mustDo(daemon, resize(5 * MiB));
  t.deepEqual(await sizes(), [5 * MiB, 5 * MiB]);
});

rooted('what has more files than it may have then is refused, too', async (t) => {
  const { daemon, at, sizes } = await started(t, scratchFolder(t));
  await mustDo(daemon, create(16 * MiB));
  for (let i = 0; i < 1100; i += 1) writeFileSync(join(at, `${i}`), '');
  const { status, error } = await ask(daemon, resize(2 * MiB));
  t.is(status, 'failed');
  t.regex(error?.message ?? '', /the size: it holds 0 B in 1101 files/);
  t.deepEqual(await sizes(), [16 * MiB, 16 * MiB]);
});

rooted('what is filled before a growth is taken back keeps its room', async (t) => {
  const folder = scratchFolder(t);
  const at = async (point: string) => {
    if (point !== 'fast.resize:resized') return;
    writeFileSync(join(folder, 'run/fast/work/file'), Buffer.alloc(6 * MiB));
    throw new Error('cut off');
  };
  const { daemon, sizes } = await started(t, folder, { faults: { at } });
  await mustDo(daemon, create(4 * MiB));
  t.is((await ask(daemon, resize(8 * MiB))).status, 'failed');
  t.deepEqual(await sizes(), [8 * MiB, 8 * MiB]);
});

rooted(
  'what was planned for one that has gone leaves the next one of its name alone',
  async (t) => {
    const { daemon, sizes } = await started(t, scratchFolder(t));
    await mustDo(daemon, create(4 * MiB));
    const { plan } = await resize(8 * MiB)(daemon.rooms.methods(daemon.engine));
    await mustDo(daemon, remove);
    await mustDo(daemon, create(2 * MiB));
    const { status, error } = await (await daemon.engine.submit(plan)).done;
    t.deepEqual([status, error?.code], ['failed', 'fast-not-found']);
    t.deepEqual(await sizes(), [2 * MiB, 2 * MiB]);
  },
);

rooted('that of an application is not for users to size', async (t) => {
  const { daemon } = await started(t, scratchFolder(t));
  await t.throwsAsync(ask(daemon, resize(8 * MiB, partitionName('paint', 31_001))), {
    code: 'in-use',
    message: /an application that works in memory/,
  });
  await t.throwsAsync(ask(daemon, resize(8 * MiB)), { code: 'fast-not-found' });
});

when(test, { root: true, tools: ['mkfs.ext4'] })(
  'an image on the disk keeps its size',
  async (t) => {
    const { daemon } = await started(t, scratchFolder(t));
    await mustDo(daemon, create(16 * MiB, 'nvme'));
    await t.throwsAsync(ask(daemon, resize(32 * MiB)), {
      code: 'bad-value',
      message: /only what lies on ram .* lies on nvme/,
    });
  },
);

/** A room of a machine that can spare so much memory, with a partition in RAM of 16 MiB. */
async function spareRoom(t: ExecutionContext, spareBytes: number, userShareBytes: number) {
  const folder = scratchFolder(t);
  const store = await openStore(join(folder, 'test.db'));
  t.teardown(() => store.close());
  const room = new FastRoom({
    paths: { run: folder, state: folder },
    settings: settingsOf([]).values,
    ...{ store, log: silentLog, now: () => Date.now(), accountOf: (uid: number) => uid },
    memory: async () => ({ spareBytes, userShareBytes }),
    space: { check: async () => undefined },
    volumes: { usable: () => [], fastOf: (name) => name, spareBytes: () => 0 },
  });
  t.teardown(() => room.close());
  const work: FastPartition = {
    ...{ name: 'work', id: 'of work', owner: 31_001, gid: 31_001, medium: 'ram' },
    ...{ bytes: 16 * MiB, state: 'ready', boot: bootId(), createdMs: 0 },
  };
  await room.place.show(work, room.medium(work), async () => undefined);
  await store.commit((tx) => putPartition(tx, work));
  return { room, work, at: room.place.at('work') };
}

rooted('what it holds already is not asked for once more, what it may still take is', async (t) => {
  const { room, work, at } = await spareRoom(t, 24 * MiB, 1024 * MiB);
  // Of the 24 MiB that can be spared nothing is promised to others.
  await t.notThrowsAsync(room.admitSize(work, 24 * MiB));
  await t.throwsAsync(room.admitSize(work, 24 * MiB + 4096), { code: 'no-memory' });
  writeFileSync(join(at, 'file'), Buffer.alloc(12 * MiB));
  await t.notThrowsAsync(room.admitSize(work, 36 * MiB));
  await t.throwsAsync(room.admitSize(work, 36 * MiB + 4096), {
    code: 'no-memory',
    message: /24 MiB can be spared/,
  });
});

rooted('a user is bound by his quota, and may always have less', async (t) => {
  // A quarter of the user side is less than what it has: it was granted when there was more.
  const { room, work } = await spareRoom(t, 0, 32 * MiB);
  await t.throwsAsync(room.admitSize(work, 17 * MiB), {
    code: 'limit-exceeded',
    message: /your fast partitions together is over the limit of 8 MiB/,
  });
  await t.notThrowsAsync(room.admitSize(work, 12 * MiB));
  await t.throwsAsync(room.admitSize({ ...work, owner: 0 }, 17 * MiB), { code: 'no-memory' });
});
