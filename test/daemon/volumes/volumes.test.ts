import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Log, silentLog } from '../../../daemon/changes/log.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { watchFull } from '../../../daemon/volumes/full-watch.ts';
import { openVolumes } from '../../../daemon/volumes/room.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { fillDisk } from '../../support/fill-disk.ts';
import { loseEnd } from '../../support/lost-end.ts';
import { run, when } from '../../support/needs.ts';
import {
  ask,
  type Methods,
  mustDo,
  rootRequest,
  smallDisk,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// Volumes on a small disk of the test's own.

const MiB = 1024 ** 2;
const rooted = when(test, { root: true, tools: ['mkfs.ext4'] });

const imageOf = (root: string) => join(root, 'state/volumes/user.ext4');
const dataOf = (root: string) => join(root, 'run/volumes/user');
/** A log whose lines of some weight are kept. */
function keptLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const kept = (level: string) => (_: unknown, what: string) => void lines.push(`${level} ${what}`);
  return { log: { ...silentLog, info: kept('info'), warn: kept('warn') }, lines };
}
/** Loop devices that show a file of this tree. */
const loopsOf = (root: string) =>
  run('losetup', '-a')
    .split('\n')
    .filter((line) => line.includes(`${root}/`));
const owned = (path: string) => statSync(path).blocks * 512;

const create =
  (bytes = 96 * MiB, limitBytes = 256 * MiB) =>
  (methods: Methods) =>
    methods['volume.create']({ name: 'user', bytes, limitBytes }, rootRequest);
const resize = (bytes: number) => (methods: Methods) =>
  methods['volume.resize']({ name: 'user', bytes }, rootRequest);
const remove = (methods: Methods) =>
  methods['volume.rm']({ name: 'user', discard: true }, rootRequest);

async function page({ rooms, engine }: Daemon) {
  const { volumes } = await rooms.methods(engine)['volume.list']({}, rootRequest);
  return volumes[0];
}

async function daemonOn(t: ExecutionContext, root: string): Promise<Daemon> {
  const daemon = await startSilent(root);
  t.teardown(() => daemon.stop());
  return daemon;
}

rooted('a volume owns its blocks, is seen, and goes without a trace', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  t.true(owned(imageOf(root)) >= 96 * MiB);
  t.true(owned(imageOf(root)) < 100 * MiB);
  const made = await page(daemon);
  t.like(made, { name: 'user', state: 'ready', at: dataOf(root), limitBytes: 256 * MiB });
  t.like(made?.space, { sizeBytes: 96 * MiB, missingBytes: 0, keepsBlocks: true });
  t.true((made?.space?.freeBytes ?? 0) > 80 * MiB);
  t.deepEqual(readdirSync(dataOf(root)), [], 'neither ballast nor lost+found');
  writeFileSync(join(dataOf(root), 'file'), 'text');
  await t.throwsAsync(
    ask(daemon, (methods) => methods['volume.rm']({ name: 'user' }, rootRequest)),
    { code: 'in-use' },
  );
  await mustDo(daemon, remove);
  t.deepEqual(readdirSync(join(root, 'state/volumes')), []);
  t.deepEqual(readdirSync(join(root, 'run/volumes')), ['.whole']);
  t.deepEqual(loopsOf(root), []);
});

rooted('a removal that a start repeats leaves another volume of that name alone', async (t) => {
  const { root } = smallDisk(t, 400);
  const first = await startSilent(root);
  const stop = stoppable(t, first);
  await mustDo(first, create());
  await mustDo(first, remove);
  await mustDo(first, create());
  writeFileSync(join(dataOf(root), 'file'), 'kept');
  await loseEnd(first.store, 'volume.rm');
  await stop();
  const second = await daemonOn(t, root);
  t.deepEqual(second.engine.open(), []);
  t.like(await page(second), { state: 'ready' });
  t.is(readFileSync(join(dataOf(root), 'file'), 'utf8'), 'kept');
});

rooted('a full disk is never felt inside a volume', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  const outside = fillDisk(join(root, 'filler'));
  t.is(outside.code, 'ENOSPC');
  const inside = fillDisk(join(dataOf(root), 'data'));
  t.is(inside.code, 'ENOSPC', 'the end of the volume, no error of the disk');
  t.true(inside.bytes >= 80 * MiB, `${inside.bytes / MiB} MiB`);
  for (let n = 0; n < 200; n += 1) run('touch', join(dataOf(root), `name-${n}`));
  run('sync', '-f', dataOf(root));
  t.true(existsSync(join(dataOf(root), 'name-199')));
  t.is((await page(daemon))?.space?.missingBytes, 0);
  const notices = await daemon.rooms.methods(daemon.engine).status.notices();
  t.true(notices.some(({ text }) => text.includes('volume user is about to be full')));
});

rooted('a volume that is full at its limit is not told to grow', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  const told = async () => {
    const { checks } = await daemon.rooms.methods(daemon.engine)['daemon.doctor']({}, rootRequest);
    return checks.find(({ name }) => name === 'volume user');
  };
  await mustDo(daemon, create(64 * MiB, 96 * MiB));
  fillDisk(join(dataOf(root), 'data'));
  t.regex((await told())?.fix ?? '', /volume resize user/);
  await mustDo(daemon, resize(96 * MiB));
  fillDisk(join(dataOf(root), 'more'));
  const full = await told();
  t.is(full?.state, 'warning');
  t.regex(full?.detail ?? '', /the limit that it was made with.*slot move SLOT --to state/);
  t.notRegex(full?.fix ?? '', /resize/);
});

rooted(
  'a daemon that starts takes its volumes up again, by the image and never by a number',
  async (t) => {
    const { root } = smallDisk(t, 400);
    const first = await startSilent(root);
    await mustDo(first, create());
    writeFileSync(join(dataOf(root), 'file'), 'text');
    await first.stop();
    t.is(readFileSync(join(dataOf(root), 'file'), 'utf8'), 'text', 'it stays without a daemon');
    const loops = loopsOf(root);
    t.is(loops.length, 1);
    const second = await startSilent(root);
    t.deepEqual(loopsOf(root), loops, 'the same device');
    t.like((await page(second))?.space, { sizeBytes: 96 * MiB, missingBytes: 0 });
    await second.stop();
    run('umount', dataOf(root));
    run('umount', join(root, 'run/volumes/.whole/user'));
    t.deepEqual(loopsOf(root), [], 'as after a boot');
    const third = await daemonOn(t, root);
    t.is(readFileSync(join(dataOf(root), 'file'), 'utf8'), 'text');
    await mustDo(third, remove);
  },
);

rooted(
  'blocks that were lost are taken again at a start; without room for them it is said',
  async (t) => {
    const { root } = smallDisk(t, 400);
    const first = await startSilent(root);
    await mustDo(first, create(96 * MiB, 96 * MiB));
    await first.stop();
    const before = owned(imageOf(root));
    const lost = () =>
      run('fallocate', '-p', '-o', String(72 * MiB), '-l', String(16 * MiB), imageOf(root));
    lost();
    t.true(owned(imageOf(root)) < before);
    const { log, lines } = keptLog();
    const second = await startSilent(root, {}, { log });
    t.is((await page(second))?.space?.missingBytes, 0);
    t.true(owned(imageOf(root)) >= before);
    lost();
    for (let looks = 0; looks < 2; looks += 1) await page(second);
    const told = lines.filter((line) => /^warn .* of volume user are not set aside/.test(line));
    t.is(told.length, 1, lines.join('\n'));
    await second.stop();
    const missing = before - owned(imageOf(root));
    t.true(missing >= 15 * MiB);
    fillDisk(join(root, 'filler'));
    // A start itself needs a little.
    truncateSync(join(root, 'filler'), statSync(join(root, 'filler')).size - 2 * MiB);
    const third = await daemonOn(t, root);
    t.is((await page(third))?.space?.missingBytes, missing);
    const { checks } = await third.rooms.methods(third.engine)['daemon.doctor']({}, rootRequest);
    t.like(
      checks.find(({ name }) => name === 'volume user'),
      { state: 'failed' },
    );
  },
);

rooted('a volume that fills up is told in the log, once, and once when it has room', async (t) => {
  const { root } = smallDisk(t, 400);
  const first = await startSilent(root);
  await mustDo(first, create(64 * MiB, 96 * MiB));
  await first.stop();
  const { log, lines } = keptLog();
  const heldBy = async () => [];
  const volumes = await openVolumes({ paths: pathsOf(root), log, now: Date.now, heldBy });
  const clock = { ms: 0 };
  const watch = watchFull(volumes, log, () => clock.ms);
  const looked = (ms: number) => {
    clock.ms += ms;
    watch();
    return lines.splice(0);
  };
  const data = join(dataOf(root), 'data');
  const freeOf = (mib: number) => {
    const { bavail, bsize } = statfsSync(dataOf(root));
    truncateSync(data, statSync(data).size - (mib * MiB - bavail * bsize));
    run('sync', '-f', dataOf(root));
  };
  t.deepEqual(looked(0), []);
  fillDisk(data);
  t.deepEqual(looked(9_999), [], 'it is not looked at yet');
  const [full, ...more] = looked(1);
  t.regex(
    full ?? '',
    /^warn volume user is about to be full: .*: personactl volume resize user SIZE$/,
  );
  t.deepEqual(more, []);
  t.deepEqual(looked(10_000), []);
  freeOf(8);
  t.deepEqual(looked(10_000), [], 'more than a tenth, and not yet room');
  freeOf(16);
  t.regex(looked(10_000).join('\n'), /^info volume user has room again: .* of 64 MiB are free$/);
  freeOf(8);
  t.deepEqual(looked(10_000), []);
  fillDisk(join(dataOf(root), 'more'));
  t.regex(looked(10_000).join('\n'), /^warn volume user is about to be full/);

  const second = await startSilent(root, {}, { log });
  t.teardown(() => second.stop());
  second.rooms.phase('ready');
  const saysSo = () =>
    lines.some((line) => line.startsWith('warn volume user is about to be full'));
  for (let waited = 0; waited < 20_000 && !saysSo(); waited += 50) await pause(50);
  t.true(saysSo(), 'the daemon looks by itself');
});

rooted('nothing that is deleted or trimmed in a volume gives its blocks away', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  const before = owned(imageOf(root));
  t.throws(() => run('fstrim', dataOf(root)));
  writeFileSync(join(dataOf(root), 'file'), Buffer.alloc(32 * MiB, 7));
  run('sync', '-f', dataOf(root));
  rmSync(join(dataOf(root), 'file'));
  run('sync', '-f', dataOf(root));
  t.is(owned(imageOf(root)), before);
});

rooted('a volume that a program has is not removed, and stays as it was', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  const file = openSync(join(dataOf(root), 'file'), 'w');
  const { status, error } = await ask(daemon, remove);
  t.is(status, 'failed');
  t.is(error?.code, 'in-use');
  t.is((await page(daemon))?.state, 'ready');
  writeSync(file, 'goes on');
  closeSync(file);
  t.is(readFileSync(join(dataOf(root), 'file'), 'utf8'), 'goes on');
  await mustDo(daemon, remove);
});

rooted('what cannot be is refused before anything is done', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  const refused = (bytes: number, limitBytes: number, code: string) =>
    t.throwsAsync(ask(daemon, create(bytes, limitBytes)), { code });
  await refused(32 * MiB, 64 * MiB, 'bad-value');
  await refused(64 * MiB, 2048 * MiB, 'bad-value');
  await refused(96 * MiB, 64 * MiB, 'bad-value');
  await refused(390 * MiB, 400 * MiB, 'no-space');
  await t.throwsAsync(ask(daemon, remove), { code: 'volume-not-found' });
  await mustDo(daemon, create(64 * MiB, 1024 * MiB));
  t.true(((await page(daemon))?.space?.freeBytes ?? 0) > 24 * MiB, 'the largest limit');
  await refused(96 * MiB, 96 * MiB, 'already-exists');
});

rooted(
  'a volume that root takes off is broken, is told, and is back after a restart',
  async (t) => {
    const { root } = smallDisk(t, 400);
    const first = await startSilent(root);
    await mustDo(first, create());
    writeFileSync(join(dataOf(root), 'file'), 'text');
    const whole = join(root, 'run/volumes/.whole/user');
    run('umount', dataOf(root));
    run('umount', whole);
    const methods = first.rooms.methods(first.engine);
    t.like(await page(first), { state: 'broken' });
    const notices = await methods.status.notices();
    t.true(notices.some(({ text }) => /volume user cannot be used: .*restart/.test(text)));
    const { checks } = await methods['daemon.doctor']({}, rootRequest);
    t.like(
      checks.find(({ name }) => name === 'volume user'),
      { state: 'failed' },
    );
    t.deepEqual((await methods['partitions.show']({}, rootRequest)).space?.sides, []);
    const { written } = await methods['system.integrity']({}, rootRequest);
    t.like(written[0], { mounted: false });
    await first.rooms.governor.loop.tick();
    const slot = (m: Methods) => m['slot.create']({ name: 'vol', volume: 'user' }, rootRequest);
    await t.throwsAsync(ask(first, resize(112 * MiB)), { code: 'state-damaged' });
    await t.throwsAsync(ask(first, slot), { code: 'state-damaged' });
    await t.throwsAsync(
      ask(first, (m) => m['volume.rm']({ name: 'user' }, rootRequest)),
      { code: 'in-use' },
    );
    t.deepEqual(readdirSync(whole), [], 'nothing is made in its place');
    await first.stop();
    const second = await daemonOn(t, root);
    t.is(readFileSync(join(dataOf(root), 'file'), 'utf8'), 'text');
    t.like(await page(second), { state: 'ready' });
  },
);

rooted('another image in the place of a volume is not mounted', async (t) => {
  const { root } = smallDisk(t, 400);
  const first = await startSilent(root);
  await mustDo(first, create());
  await first.stop();
  run('umount', dataOf(root));
  run('umount', join(root, 'run/volumes/.whole/user'));
  run('mkfs.ext4', '-q', '-F', imageOf(root));
  const second = await daemonOn(t, root);
  t.is((await page(second))?.state, 'broken');
  const notices = await second.rooms.methods(second.engine).status.notices();
  t.true(notices.some(({ text }) => text.startsWith('volume user cannot be used')));
  t.deepEqual(readdirSync(join(root, 'run/volumes/.whole')), ['user']);
});

const freeOf = (path: string) => {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
};

rooted('a volume grows while it is written to, and what it gains is its own', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  const full = fillDisk(join(dataOf(root), 'first'));
  t.is(full.code, 'ENOSPC');
  const file = openSync(join(dataOf(root), 'open'), 'w');
  await mustDo(daemon, resize(160 * MiB));
  t.like((await page(daemon))?.space, { sizeBytes: 160 * MiB, missingBytes: 0 });
  fillDisk(join(root, 'filler'));
  for (let n = 0; n < 60; n += 1) {
    writeSync(file, Buffer.alloc(MiB, n));
    fsyncSync(file);
  }
  closeSync(file);
  t.is((await page(daemon))?.space?.missingBytes, 0);
});

rooted('a volume gives space back while it is written to, and cannot take it again', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create(192 * MiB));
  // Blocks that were written and deleted are given back as well as those that never were.
  for (let n = 0; n < 16; n += 1)
    writeFileSync(join(dataOf(root), `${n}`), Buffer.alloc(8 * MiB, n), { flush: true });
  for (let n = 0; n < 16; n += 2) rmSync(join(dataOf(root), `${n}`));
  const file = openSync(join(dataOf(root), 'open'), 'w');
  writeSync(file, 'before');
  const before = freeOf(root);
  await mustDo(daemon, resize(112 * MiB));
  t.true(freeOf(root) - before >= 79 * MiB, `${(freeOf(root) - before) / MiB} MiB`);
  writeSync(file, ' and after');
  closeSync(file);
  t.is(readFileSync(join(dataOf(root), 'open'), 'utf8'), 'before and after');
  fillDisk(join(root, 'filler'));
  t.is(fillDisk(join(dataOf(root), 'rest')).code, 'ENOSPC', 'no error of the disk');
  t.is((await page(daemon))?.space?.missingBytes, 0);
  for (let n = 1; n < 16; n += 2)
    t.true(readFileSync(join(dataOf(root), `${n}`)).equals(Buffer.alloc(8 * MiB, n)));
});

rooted('a size that cannot be is refused, and nothing has changed', async (t) => {
  const { root } = smallDisk(t, 400);
  const daemon = await daemonOn(t, root);
  await mustDo(daemon, create());
  writeFileSync(join(dataOf(root), 'data'), Buffer.alloc(64 * MiB), { flush: true });
  await t.throwsAsync(ask(daemon, resize(64 * MiB)), { code: 'no-space' });
  await t.throwsAsync(ask(daemon, resize(512 * MiB)), {
    code: 'bad-value',
    message: /256 MiB at most.*volume create user --size SIZE --limit/,
  });
  fillDisk(join(root, 'filler'));
  await t.throwsAsync(ask(daemon, resize(256 * MiB)), { code: 'no-space' });
  t.like((await page(daemon))?.space, { sizeBytes: 96 * MiB, missingBytes: 0 });
});

rooted('a disk that fills up while a volume grows takes nothing from it', async (t) => {
  const { root } = smallDisk(t, 400);
  const faults = {
    at: async (point: string) => {
      if (point === 'do:volumes.reserve') fillDisk(join(root, 'filler'));
    },
  };
  const daemon = await startSilent(root, { faults });
  t.teardown(() => daemon.stop());
  await mustDo(daemon, create());
  const { status, error } = await ask(daemon, resize(256 * MiB));
  t.is(status, 'failed', JSON.stringify(error));
  t.is(error?.code, 'no-space');
  t.like((await page(daemon))?.space, { sizeBytes: 96 * MiB, missingBytes: 0 });
  t.is(fillDisk(join(dataOf(root), 'data')).code, 'ENOSPC');
  t.true(owned(imageOf(root)) < 97 * MiB, 'what was set aside went back');
});

/** Two sizes asked for one after the other: the first waits until the second is planned, `between` runs when its turn has come. */
async function twoSizes(
  t: ExecutionContext,
  root: string,
  sizes: readonly [number, number],
  between: () => void = () => undefined,
) {
  const planned = Promise.withResolvers<void>();
  let begun = 0;
  const faults = {
    at: async (point: string) => {
      if (!/^do:volumes\.(?:fill-ballast|reserve)$/.test(point)) return;
      begun += 1;
      if (begun === 1) await planned.promise;
      else between();
    },
  };
  const daemon = await startSilent(root, { faults });
  t.teardown(() => daemon.stop());
  await mustDo(daemon, create(192 * MiB));
  const methods = daemon.rooms.methods(daemon.engine);
  const submit = async (bytes: number) => daemon.engine.submit((await resize(bytes)(methods)).plan);
  const first = await submit(sizes[0]);
  const second = await submit(sizes[1]);
  t.is((await daemon.engine.show(second.changeId)).status, 'queued');
  planned.resolve();
  t.is((await first.done).status, 'done');
  return { daemon, second: await second.done };
}

rooted('what a shrink before it gave back is not taken when a shrink is undone', async (t) => {
  const { root } = smallDisk(t, 400);
  const { daemon, second } = await twoSizes(t, root, [128 * MiB, 64 * MiB], () => {
    fillDisk(join(dataOf(root), 'meanwhile'));
  });
  t.is(second.status, 'failed', JSON.stringify(second.error));
  t.is(second.error?.code, 'no-space');
  t.like((await page(daemon))?.space, { sizeBytes: 128 * MiB, missingBytes: 0 });
  fillDisk(join(root, 'filler'));
  t.is(fillDisk(join(dataOf(root), 'rest')).code, 'ENOSPC', 'no error of the disk');
  t.is((await page(daemon))?.space?.missingBytes, 0);
});

rooted('a size behind another one is had, or refused where it would be the opposite', async (t) => {
  const cases = [
    { sizes: [128, 96], has: 96 },
    { sizes: [224, 256], has: 256 },
    { sizes: [224, 160], has: 160 },
    { sizes: [96, 128], has: 96 },
    { sizes: [256, 224], has: 256 },
    { sizes: [96, 224], has: 96 },
  ] as const;
  for (const { sizes, has } of cases) {
    const { root } = smallDisk(t, 400);
    const [first, then] = sizes;
    const { daemon, second } = await twoSizes(t, root, [first * MiB, then * MiB]);
    const what = `${first}, then ${then}: ${JSON.stringify(second.error)}`;
    t.is(second.status, has === then ? 'done' : 'failed', what);
    if (has !== then) t.is(second.error?.code, 'bad-value', what);
    t.like((await page(daemon))?.space, { sizeBytes: has * MiB, missingBytes: 0 }, what);
  }
});
