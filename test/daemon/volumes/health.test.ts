import { cpSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Daemon } from '../../../daemon/wiring.ts';
import { run, when } from '../../support/needs.ts';
import {
  ask,
  mustDo,
  rootRequest,
  type SmallDisk,
  smallDisk,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// What can be said of volumes without reading them, on a small disk of the test's own.

const MiB = 1024 ** 2;
const rooted = when(test, { root: true, tools: ['mkfs.ext4', 'e2fsck'] });

const imageOf = ({ root }: SmallDisk) => join(root, 'state/volumes/user.ext4');
const request = { ...rootRequest };

/** A daemon with one volume, and how it is stopped. */
async function withVolume(t: ExecutionContext, limitBytes = 128 * MiB) {
  const disk = smallDisk(t, 300);
  const daemon = await startSilent(disk.root);
  const stop = stoppable(t, daemon);
  await mustDo(daemon, (m) =>
    m['volume.create']({ name: 'user', bytes: 64 * MiB, limitBytes }, request),
  );
  return { disk, daemon, stop };
}

async function again(t: ExecutionContext, { root }: SmallDisk) {
  const daemon = await startSilent(root);
  return { daemon, stop: stoppable(t, daemon) };
}

const methodsOf = ({ rooms, engine }: Daemon) => rooms.methods(engine);
const seen = async (daemon: Daemon, asker = request) =>
  (await methodsOf(daemon)['system.integrity']({}, asker)).written;
const scrubbed = async (daemon: Daemon) => {
  const { status, result } = await ask(daemon, (m) => m['system.scrub']({}, request));
  if (status !== 'done') throw new Error(status);
  return (result as { damaged: { file: string; problem: string }[] }).damaged;
};
const takeOff = ({ root }: SmallDisk) => {
  for (const place of ['run/volumes/user', 'run/volumes/.whole/user'])
    run('umount', join(root, place));
};

rooted('a volume with which all is well is said to be so, to root alone', async (t) => {
  const { daemon } = await withVolume(t);
  t.deepEqual(await seen(daemon), [
    { kind: 'volume', name: 'user', bytes: 128 * MiB, mounted: true, errors: 0 },
  ]);
  t.deepEqual(await scrubbed(daemon), []);
  const other = { ...request, caller: { ...request.caller, uid: 1000 } };
  t.deepEqual(await seen(daemon, other), []);
});

rooted('errors that the kernel finds in a volume are told until they are repaired', async (t) => {
  const { disk, daemon, stop } = await withVolume(t);
  const loop = run('findmnt', '-no', 'SOURCE', join(disk.root, 'run/volumes/.whole/user')).trim();
  writeFileSync(`/sys/fs/ext4/${loop.replace('/dev/', '')}/trigger_fs_error`, 'a test');
  const until = performance.now() + 30_000;
  // The kernel writes it down in a thread of its own.
  while ((await seen(daemon))[0]?.errors === 0 && performance.now() < until) await turn();
  const [volume] = await seen(daemon);
  t.is(volume?.errors, 1);
  t.regex(volume?.problem ?? '', /has found 1 error in its file system .* in trigger_test_error/);
  t.like(await scrubbed(daemon), [{ file: 'volume user' }]);
  const notices = await methodsOf(daemon).status.notices();
  t.true(notices.some(({ text }) => text.startsWith('volume user: the kernel has found 1 error')));
  const { checks } = await methodsOf(daemon)['daemon.doctor']({}, request);
  t.is(checks.find(({ name }) => name === 'volume user')?.state, 'failed');
  await stop();
  takeOff(disk);
  const second = await again(t, disk);
  t.is((await seen(second.daemon))[0]?.errors, 1, 'a start does not forget it');
  await second.stop();
  takeOff(disk);
  t.throws(() => run('e2fsck', '-fy', imageOf(disk)), undefined, 'it says that it has repaired');
  const third = await again(t, disk);
  t.like((await seen(third.daemon))[0], { mounted: true, errors: 0, problem: undefined });
});

rooted('blocks that a volume has lost, and an image that was exchanged, are found', async (t) => {
  const { disk, daemon } = await withVolume(t, 64 * MiB);
  const image = imageOf(disk);
  run('fallocate', '-p', '-o', String(50 * MiB), '-l', String(MiB), image);
  t.regex((await seen(daemon))[0]?.problem ?? '', /^1 MiB of it are not set aside$/);
  cpSync(image, `${image}.copy`);
  renameSync(image, `${image}.old`);
  renameSync(`${image}.copy`, image);
  t.regex((await seen(daemon))[0]?.problem ?? '', /^another file lies in the place/);
  run('mkfs.ext4', '-q', '-F', image);
  t.regex((await scrubbed(daemon))[0]?.problem ?? '', /another file system than the one/);
  renameSync(`${image}.old`, image);
});

rooted('an image that was cut is not mounted at a start', async (t) => {
  const { disk, stop } = await withVolume(t);
  await stop();
  takeOff(disk);
  truncateSync(imageOf(disk), 96 * MiB);
  const { daemon } = await again(t, disk);
  const [volume] = await seen(daemon);
  t.like(volume, { mounted: false });
  t.regex(volume?.problem ?? '', /bytes long, and was made with/);
});
