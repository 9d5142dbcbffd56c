import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Outlet } from '../../../daemon/api/outlet.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { run, when } from '../../support/needs.ts';
import {
  ask,
  furnish,
  keepingNothing,
  type Methods,
  mustDo,
  reboot,
  rootRequest,
  type SmallDisk,
  smallDisk,
  startSilent,
} from '../../support/silent-daemon.ts';

// Slots whose writable layers lie in a volume, on a small disk of the test's own.

const MiB = 1024 ** 2;
const rooted = when(test, { root: true, tools: ['mkfs.ext4'] });

const wholeOf = (root: string) => join(root, 'run/volumes/.whole/user');
const shownOf = (root: string, slot = 'vol') => join(root, 'run/slots', slot, 'root');
const mineOf = (root: string, slot = 'vol') => join(shownOf(root, slot), 'etc/mine');
const imageOf = (root: string) => join(root, 'state/volumes/user.ext4');

const swap = (persona: string) => (methods: Methods) =>
  methods['slot.swap']({ slot: 'vol', persona }, rootRequest);
const removeVolume = (methods: Methods) =>
  methods['volume.rm']({ name: 'user', discard: true }, rootRequest);
const removeSlot = (methods: Methods) =>
  methods['slot.rm']({ slot: 'vol', discard: true }, rootRequest);

/** A volume, and a slot `vol` in it that shows persona `a` with something written. */
async function volumeSlot(daemon: Daemon, { folder, root }: SmallDisk): Promise<void> {
  await furnish(daemon, folder);
  await mustDo(daemon, (methods) =>
    methods['volume.create']({ name: 'user', bytes: 64 * MiB, limitBytes: 64 * MiB }, rootRequest),
  );
  await mustDo(daemon, (methods) =>
    methods['slot.create']({ name: 'vol', volume: 'user' }, rootRequest),
  );
  await mustDo(daemon, swap('a'));
  writeFileSync(mineOf(root), 'of a');
}

async function pageOf({ rooms, engine }: Daemon) {
  const { slots } = await rooms.methods(engine)['slot.list']({}, rootRequest);
  return slots.find(({ name }) => name === 'vol');
}

const notices = ({ rooms, engine }: Daemon) => rooms.methods(engine).status.notices();

async function started(t: ExecutionContext, root: string): Promise<Daemon> {
  const daemon = await startSilent(root);
  t.teardown(() => daemon.stop());
  return daemon;
}

rooted('what is written in a slot lies in its volume, and goes with the slot', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const daemon = await started(t, root);
  await volumeSlot(daemon, disk);
  await mustDo(daemon, swap('b'));
  await mustDo(daemon, swap('a'));
  t.is(readFileSync(mineOf(root), 'utf8'), 'of a', 'each persona goes on where it was');
  t.is((await pageOf(daemon))?.volume, 'user');
  t.deepEqual(readdirSync(join(root, 'state/slots/vol/uppers')), []);
  const [folder = ''] = readdirSync(join(wholeOf(root), 'slots'));
  t.regex(folder, /^vol-[0-9a-f]{8}$/);
  t.is(statSync(wholeOf(root)).mode & 0o777, 0o700, 'nobody else comes near it');
  t.deepEqual(readdirSync(join(root, 'run/volumes/user')), [], 'not among what others see');
  const { kinds } = await daemon.rooms.methods(daemon.engine)['system.df']({}, rootRequest);
  const bytesOf = (wanted: string) => kinds.find(({ kind }) => kind === wanted)?.bytes ?? 0;
  t.true(bytesOf('volumes') > 32 * MiB);
  t.true(bytesOf('uppers') > 0);
  await t.throwsAsync(ask(daemon, removeVolume), { code: 'in-use', message: /slot vol/ });
  await mustDo(daemon, removeSlot);
  t.deepEqual(readdirSync(join(wholeOf(root), 'slots')), []);
  t.false(existsSync(join(root, 'state/slots/vol')));
  await mustDo(daemon, removeVolume);
});

rooted('a slot that is made while its volume is being removed keeps the volume', async (t) => {
  const disk = smallDisk(t, 400);
  const daemon = await started(t, disk.root);
  await mustDo(daemon, (methods) =>
    methods['volume.create']({ name: 'user', bytes: 64 * MiB, limitBytes: 64 * MiB }, rootRequest),
  );
  const methods = daemon.rooms.methods(daemon.engine);
  const slot = await methods['slot.create']({ name: 'vol', volume: 'user' }, rootRequest);
  const removal = await removeVolume(methods);
  const [made, removed] = await Promise.all(
    [slot, removal].map(async ({ plan }) => (await daemon.engine.submit(plan)).done),
  );
  t.is(made?.status, 'done');
  t.like(removed, { status: 'failed', error: { code: 'in-use' } });
  t.is((await pageOf(daemon))?.state, 'empty');
  await t.throwsAsync(
    ask(daemon, (all) => all['slot.create']({ name: 'other', volume: 'system' }, rootRequest)),
    { code: 'volume-not-found' },
  );
});

rooted('a start brings it back, also of a state tree that was moved', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const first = await startSilent(root);
  await volumeSlot(first, disk);
  await first.stop();
  t.is(readFileSync(mineOf(root), 'utf8'), 'of a', 'it stays shown without a daemon');
  const second = await startSilent(root);
  t.is((await pageOf(second))?.state, 'active');
  await mustDo(second, swap('b'));
  writeFileSync(mineOf(root), 'of b');
  await second.stop();
  await reboot(disk);
  const moved = join(root, 'moved');
  mkdirSync(moved);
  renameSync(join(root, 'state'), join(moved, 'state'));
  const third = await startSilent(moved);
  t.is(readFileSync(mineOf(moved), 'utf8'), 'of b');
  await mustDo(third, swap('a'));
  t.is(readFileSync(mineOf(moved), 'utf8'), 'of a');
  await third.stop();
});

rooted('a volume that cannot be mounted keeps its slots out, and loses nothing', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const first = await startSilent(root);
  await volumeSlot(first, disk);
  await first.stop();
  await reboot(disk);
  renameSync(imageOf(root), join(root, 'image'));
  writeFileSync(imageOf(root), 'no volume');
  const second = await startSilent(root);
  t.true((await notices(second)).some(({ text }) => /^slot vol: .*volume user/.test(text)));
  t.like(await pageOf(second), { state: 'broken' });
  t.is(readFileSync(join(shownOf(root, 'work'), 'etc/name'), 'utf8'), 'b', 'others come back');
  await t.throwsAsync(ask(second, swap('b')), { code: 'state-damaged' });
  await t.throwsAsync(
    ask(second, (m) => m['slot.rm']({ slot: 'vol' }, rootRequest)),
    { code: 'state-damaged' },
  );
  await t.throwsAsync(ask(second, removeVolume), { code: 'in-use' });
  const backup = await ask(second, (m) => m['system.backup']({ ticket: 'abcdefgh' }, fetching()));
  t.is(backup.error?.code, 'state-damaged', 'a backup is whole or refused');
  t.deepEqual(readdirSync(join(root, 'state/slots/vol/uppers')), []);
  await second.stop();
  renameSync(join(root, 'image'), imageOf(root));
  const third = await startSilent(root);
  t.is(readFileSync(mineOf(root), 'utf8'), 'of a');
  await third.stop();
  await reboot(disk);
  rmSync(imageOf(root));
  const fourth = await started(t, root);
  await mustDo(fourth, removeSlot);
  t.is(await pageOf(fourth), undefined, 'what is gone for good can be given up');
});

rooted('the past of a slot is collected in its volume', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const first = await startSilent(root);
  await volumeSlot(first, disk);
  const fresh = (methods: Methods) =>
    methods['slot.swap']({ slot: 'vol', persona: 'a', fresh: true }, rootRequest);
  for (let n = 0; n < 3; n += 1) {
    writeFileSync(mineOf(root), `${n}`);
    await mustDo(first, fresh);
  }
  await first.stop();
  const daemon = await startSilent(root, {}, { settings: keepingNothing });
  t.teardown(() => daemon.stop());
  const [folder = ''] = readdirSync(join(wholeOf(root), 'slots'));
  const written = () =>
    readdirSync(join(wholeOf(root), 'slots', folder)).filter((id) =>
      existsSync(join(wholeOf(root), 'slots', folder, id, 'fs/etc/mine')),
    ).length;
  const before = written();
  await mustDo(daemon, (methods) => methods['system.gc']({}, rootRequest));
  t.true(written() < before, `${written()} of ${before}`);
});

rooted('a removal that was cut off is finished by the next start', async (t) => {
  const disk = smallDisk(t, 400);
  const { root } = disk;
  const at = async (point: string) => {
    if (point.endsWith('slots:removing')) throw new Error('cut off');
  };
  const first = await startSilent(root, { faults: { at } });
  await volumeSlot(first, disk);
  t.is((await ask(first, removeSlot)).status, 'stuck-committed');
  await first.stop();
  const second = await started(t, root);
  t.deepEqual(second.engine.open(), []);
  t.is(await pageOf(second), undefined);
  t.false(existsSync(join(root, 'state/slots/vol')));
  t.deepEqual(readdirSync(join(wholeOf(root), 'slots')), []);
});

/** A request whose caller takes what is written, into nothing. */
function fetching(path = '/dev/null') {
  const outlet = {
    closed: false,
    write: async (bytes: Uint8Array) => writeFileSync(path, bytes, { flag: 'a' }),
    end: async () => undefined,
    close: () => undefined,
  };
  return { ...rootRequest, output: () => outlet as unknown as Outlet };
}

rooted('a backup holds it, and brings it back in the state tree', async (t) => {
  const disk = smallDisk(t, 400);
  const { folder, root } = disk;
  const first = await startSilent(root);
  await volumeSlot(first, disk);
  await mustDo(first, swap('b'));
  writeFileSync(mineOf(root), 'of b');
  const file = join(folder, 'backup');
  await mustDo(first, (m) => m['system.backup']({ ticket: 'abcdefgh' }, fetching(file)));
  writeFileSync(mineOf(root), 'since');
  await mustDo(first, (m) =>
    m['system.restore']({ file, replace: true, endSlots: true }, rootRequest),
  );
  await first.restart;
  await first.stop();
  const second = await started(t, root);
  t.is((await pageOf(second))?.volume, undefined);
  t.is(readFileSync(mineOf(root), 'utf8'), 'of b');
  await mustDo(second, swap('a'));
  t.is(readFileSync(mineOf(root), 'utf8'), 'of a');
  const left = (await notices(second)).find(({ text }) => text.includes('which no slot has'));
  const words = left?.command?.split(' ') ?? [];
  t.deepEqual(words.slice(0, 2), ['rm', '-r']);
  await t.throwsAsync(
    ask(second, (m) => m['volume.rm']({ name: 'user' }, rootRequest)),
    { code: 'in-use' },
  );
  run(words[0] ?? '', ...words.slice(1));
  t.false((await notices(second)).some(({ text }) => text.includes('which no slot has')));
  await mustDo(second, (m) => m['volume.rm']({ name: 'user' }, rootRequest));
});
