import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ownedBytes } from '../../../daemon/kernel/own-blocks.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { fillDisk } from '../../support/fill-disk.ts';
import { run, when } from '../../support/needs.ts';
import {
  ask,
  type Methods,
  mustDo,
  reboot,
  rootRequest,
  smallDisk,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// Fast partitions whose images lie in a volume, on a small disk of the test's own.

const MiB = 2 ** 20;
const rooted = when(test, { root: true, tools: ['mkfs.ext4'] });

const wholeOf = (root: string) => join(root, 'run/volumes/.whole/user');
const imagesOf = (root: string) => readdirSync(join(wholeOf(root), 'fast'));
const fastOf = (root: string, file = '') => join(root, 'run/fast/quick', file);

const makeVolume = (methods: Methods) =>
  methods['volume.create']({ name: 'user', bytes: 128 * MiB, limitBytes: 256 * MiB }, rootRequest);
const removeVolume = (methods: Methods) =>
  methods['volume.rm']({ name: 'user', discard: true }, rootRequest);
const make =
  (bytes = 48 * MiB) =>
  (methods: Methods) =>
    methods['fast.create']({ name: 'quick', bytes, on: 'nvme', volume: 'user' }, rootRequest);
const remove = (methods: Methods) => methods['fast.rm']({ name: 'quick' }, rootRequest);

const spaceOf = async ({ rooms, engine }: Daemon) =>
  (await rooms.methods(engine)['volume.list']({}, rootRequest)).volumes[0]?.space;
const pageOf = async ({ rooms, engine }: Daemon) =>
  (await rooms.methods(engine)['fast.list']({}, rootRequest)).partitions[0];
const notices = ({ rooms, engine }: Daemon) => rooms.methods(engine).status.notices();

rooted('its space is the volume’s, which stays as long as it lies there', async (t) => {
  const { root } = smallDisk(t, 400);
  const first = await startSilent(root);
  const stop = stoppable(t, first);
  await mustDo(first, makeVolume);
  const before = (await spaceOf(first))?.freeBytes ?? Number.NaN;
  await mustDo(first, make());
  t.like(await pageOf(first), { name: 'quick', on: 'nvme', volume: 'user', state: 'ready' });
  const [image = ''] = imagesOf(root);
  t.deepEqual(readdirSync(join(root, 'state/fast')), []);
  t.true(ownedBytes(join(wholeOf(root), 'fast', image)) >= 48 * MiB);
  const taken = before - ((await spaceOf(first))?.freeBytes ?? Number.NaN);
  t.true(taken >= 48 * MiB && taken < 49 * MiB, `${taken}`);
  await t.throwsAsync(ask(first, removeVolume), {
    code: 'in-use',
    message: /fast partition quick/,
  });
  await t.throwsAsync(
    ask(first, (m) => m['volume.resize']({ name: 'user', bytes: 64 * MiB }, rootRequest)),
    { code: 'no-space' },
  );
  writeFileSync(fastOf(root, 'note'), 'still here');
  await stop();
  const second = await startSilent(root);
  stoppable(t, second);
  t.is(readFileSync(fastOf(root, 'note'), 'utf8'), 'still here');
  await mustDo(second, remove);
  const left = before - ((await spaceOf(second))?.freeBytes ?? Number.NaN);
  t.true(left <= 4096, `the volume has it again, but for the folder: ${left}`);
  await mustDo(second, removeVolume);
});

rooted('one that was made after the removal of its volume was planned keeps it', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await startSilent(root);
  stoppable(t, daemon);
  await mustDo(daemon, makeVolume);
  const { engine, rooms } = daemon;
  const { plan } = await removeVolume(rooms.methods(engine));
  await mustDo(daemon, make(16 * MiB));
  const { status, error } = await (await engine.submit(plan)).done;
  t.like({ status, code: error?.code }, { status: 'failed', code: 'in-use' });
  writeFileSync(fastOf(root, 'note'), 'goes on', { flush: true });
  t.like(await pageOf(daemon), { state: 'ready' });
});

rooted('after a boot the volume is there first, and the partition in it is empty', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const first = await startSilent(root);
  await mustDo(first, makeVolume);
  await mustDo(first, make());
  writeFileSync(fastOf(root, 'note'), 'lost');
  const [image = ''] = imagesOf(root);
  const { id } = (await first.store.get('SELECT id FROM fast')) ?? {};
  t.is(image, `${id}.ext4`);
  await first.store.commit((tx) => tx.run("UPDATE fast SET boot = 'another'"));
  await first.stop();
  await reboot(disk);
  const second = await startSilent(root);
  stoppable(t, second);
  t.deepEqual(readdirSync(fastOf(root)), []);
  t.true(((await pageOf(second))?.emptiedMs ?? 0) > 0);
  t.deepEqual(imagesOf(root), [image]);
  t.is((await spaceOf(second))?.missingBytes, 0);
});

rooted('a disk and a volume that are full are not felt inside', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await startSilent(root);
  stoppable(t, daemon);
  await mustDo(daemon, makeVolume);
  await mustDo(daemon, make());
  t.is(fillDisk(join(root, 'filler')).code, 'ENOSPC');
  t.is(fillDisk(join(root, 'run/volumes/user/filler')).code, 'ENOSPC');
  const piece = 512 * 1024;
  // Every second piece first: each write splits what is only set aside.
  const file = openSync(fastOf(root, 'data'), 'w');
  for (const half of [0, 1])
    for (let at = half * piece; at < 36 * MiB; at += 2 * piece) {
      writeSync(file, Buffer.alloc(piece, half + 1), 0, piece, at);
      fsyncSync(file);
    }
  closeSync(file);
  const end = fillDisk(fastOf(root, 'more'));
  t.is(end.code, 'ENOSPC', 'the end of the partition, no error of the volume');
  t.true(end.bytes >= 8 * MiB, `${end.bytes}`);
  const data = readFileSync(fastOf(root, 'data'));
  t.true(data.subarray(0, piece).equals(Buffer.alloc(piece, 1)));
  t.true(data.subarray(-piece).equals(Buffer.alloc(piece, 2)));
  t.is((await spaceOf(daemon))?.missingBytes, 0);
  t.is((await pageOf(daemon))?.problem, undefined);
});

rooted('while its volume cannot be used it stays away, and can be given up', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const image = join(root, 'state/volumes/user.ext4');
  const first = await startSilent(root);
  await mustDo(first, makeVolume);
  await mustDo(first, make());
  await first.stop();
  await reboot(disk);
  renameSync(image, `${image}.away`);
  const second = await startSilent(root);
  t.like(await pageOf(second), { state: 'missing' });
  const texts = (await notices(second)).map(({ text }) => text);
  t.true(
    texts.some((text) => /^fast partition quick: .*volume user/.test(text)),
    texts.join(),
  );
  t.false(existsSync(wholeOf(root)), 'nothing is made in its place');
  await t.throwsAsync(ask(second, removeVolume), { code: 'in-use' });
  await mustDo(second, remove);
  await second.stop();
  renameSync(`${image}.away`, image);
  const third = await startSilent(root);
  stoppable(t, third);
  t.deepEqual(imagesOf(root), [], 'what was given up is gone when the volume is back');
  await mustDo(third, removeVolume);
});

when(test, { root: true, tools: ['mkfs.ext4', 'chattr'] })(
  'an image of nobody that cannot be removed keeps no daemon from starting',
  async (t) => {
    const { root } = smallDisk(t, 400);
    const first = await startSilent(root);
    await mustDo(first, makeVolume);
    await mustDo(first, make(16 * MiB));
    await first.stop();
    const stray = join(wholeOf(root), 'fast/stray.ext4');
    writeFileSync(stray, '');
    run('chattr', '+i', stray);
    const second = await startSilent(root);
    stoppable(t, second);
    t.true(existsSync(stray));
    t.like(await pageOf(second), { state: 'ready' });
  },
);

rooted('what cannot lie in a volume is refused', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await startSilent(root);
  stoppable(t, daemon);
  await t.throwsAsync(ask(daemon, make()), { code: 'volume-not-found' });
  await mustDo(daemon, makeVolume);
  await t.throwsAsync(ask(daemon, make(110 * MiB)), { code: 'no-space', message: /volume user/ });
  for (const on of ['ram', 'auto'] as const)
    await t.throwsAsync(
      ask(daemon, (m) =>
        m['fast.create']({ name: 'quick', bytes: 16 * MiB, on, volume: 'user' }, rootRequest),
      ),
      { code: 'bad-value' },
    );
});
