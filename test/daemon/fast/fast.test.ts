import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { unmount } from '../../../daemon/kernel/mounts.ts';
import { ownedBytes } from '../../../daemon/kernel/own-blocks.ts';
import { allZram, hasZram, removeZram } from '../../../daemon/kernel/zram.ts';
import { openStore } from '../../../daemon/store/database.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import {
  type Asked,
  asUser,
  done,
  type Given,
  privateTree,
  startLive,
  users,
} from '../../security/live-daemon.ts';
import { partner } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';

// Fast partitions on a running daemon, asked for by ordinary users on the socket of everybody.

const MiB = 2 ** 20;
const rooted = when(test, { root: true, tools: ['setpriv', 'unshare'] });
const codes = (given: readonly Given[]) => given.map(({ error }) => error?.code ?? 'ok');
const create = (name: string, bytes = 4 * MiB, on = 'ram'): Asked => [
  'fast.create',
  { name, bytes, on, wait: true },
];
const remove = (name: string): Asked => ['fast.rm', { name, wait: true }];

function as(uid: number, ...command: string[]) {
  const ids = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups'];
  return spawnSync('setpriv', [...ids, ...command], { encoding: 'utf8', cwd: '/' });
}

async function ready(t: ExecutionContext, more = '') {
  const root = privateTree(t, more);
  const daemon = await startLive(t, root);
  const ask = (uid: number, ...asked: Asked[]) => asUser(uid, [], daemon.run, asked);
  return { root, daemon, ask, at: (name: string) => join(daemon.run, 'fast', name) };
}

rooted(
  'a user makes a partition of its own, and nobody else gets in or takes it off',
  async (t) => {
    const { ask, at, daemon } = await ready(t);
    const [made] = await ask(users.user, create('mine'));
    t.is(made?.error, undefined);
    t.like(made?.result as object | undefined, {
      result: {
        partition: { name: 'mine', on: 'ram', bytes: 4 * MiB, state: 'ready', path: at('mine') },
      },
    });
    const { uid, gid, mode } = lstatSync(at('mine'));
    t.deepEqual([uid, gid, mode & 0o7777], [users.user, users.user, 0o700]);
    const line = readMountinfo().find((one) => one.at === at('mine'));
    t.is(line?.type, 'tmpfs');
    for (const option of ['nosuid', 'nodev']) t.true(line?.options.includes(option), option);
    const { blocks, bsize } = statfsSync(at('mine'));
    t.is(blocks * bsize, 4 * MiB);
    t.is(as(users.user, 'touch', join(at('mine'), 'file')).status, 0);
    t.not(as(users.other, 'ls', at('mine')).status, 0);
    t.not(as(users.user, 'ls', join(daemon.run, 'fast')).status, 0);
    t.not(as(users.user, 'mv', at('mine'), at('moved')).status, 0);

    t.deepEqual(codes(await ask(users.other, remove('mine'), create('mine'))), [
      'permission-denied',
      'already-exists',
    ]);
    const [theirs] = await ask(users.other, ['fast.list', {}]);
    t.deepEqual(theirs?.result, { partitions: [] });
    const client = await daemon.client();
    t.is((await client.call('fast.list', {})).partitions.length, 1);
    t.deepEqual(codes(await ask(users.user, remove('mine'), remove('mine'))), [
      'ok',
      'fast-not-found',
    ]);
    t.false(existsSync(at('mine')));
    t.false(readMountinfo().some((one) => one.at.startsWith(at(''))));
  },
);

rooted('what is in it outlives the daemon, however that ends', async (t) => {
  const { root, daemon, ask, at } = await ready(t);
  await ask(users.user, create('kept'));
  writeFileSync(join(at('kept'), 'note'), 'still here');
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await daemon.end(signal);
    const again = await startLive(t, root);
    t.is(readFileSync(join(at('kept'), 'note'), 'utf8'), 'still here');
    const { partitions } = await (await again.client()).call('fast.list', {});
    t.like(partitions[0], { name: 'kept', state: 'ready' });
    t.is(partitions[0]?.emptiedMs, undefined);
    await again.end(signal);
  }
});

rooted('after a boot it is there again, empty, and says so', async (t) => {
  const { root, daemon, ask, at } = await ready(t);
  await ask(users.user, create('kept'));
  writeFileSync(join(at('kept'), 'note'), 'lost');
  await daemon.end('SIGKILL');
  // What a boot does to it.
  await unmount(at('kept'));
  const again = await startLive(t, root);
  t.false(existsSync(join(at('kept'), 'note')));
  t.is(lstatSync(at('kept')).uid, users.user);
  const { partitions } = await (await again.client()).call('fast.list', {});
  t.like(partitions[0], { name: 'kept', state: 'ready' });
  t.true((partitions[0]?.emptiedMs ?? 0) >= (partitions[0]?.createdMs ?? Number.NaN));
  t.regex(again.output(), /made again, empty/);
});

rooted('a partition with a program inside stays, and the program is named', async (t) => {
  const { ask, at } = await ready(t);
  await ask(users.user, create('busy'));
  writeFileSync(join(at('busy'), 'note'), 'kept');
  const inside = partner(t, 'sh', '-c', `cd ${at('busy')} && echo in && read word`);
  t.is(await inside.line(), 'in');
  const [refused] = await ask(users.user, remove('busy'));
  t.is(refused?.error?.code, 'in-use');
  t.regex(refused?.error?.message ?? '', new RegExp(`sh \\(pid ${inside.process.pid}\\)`));
  t.is(readFileSync(join(at('busy'), 'note'), 'utf8'), 'kept');
  await inside.end();
  t.deepEqual(codes(await ask(users.user, remove('busy'))), ['ok']);
});

rooted(
  'a namespace that keeps it for itself keeps its memory, so it counts as inside',
  async (t) => {
    const { ask, at } = await ready(t);
    await ask(users.user, create('held'));
    const script = 'echo in && read word';
    const holder = partner(t, 'unshare', '--mount', '--propagation', 'private', 'sh', '-c', script);
    t.is(await holder.line(), 'in');
    const [refused] = await ask(users.user, remove('held'));
    t.is(refused?.error?.code, 'in-use');
    t.regex(refused?.error?.message ?? '', /pid/);
    t.true(existsSync(at('held')));
    await holder.end();
    t.deepEqual(codes(await ask(users.user, remove('held'))), ['ok']);
  },
);

rooted('a user has its quota; a side is not starved, not even by root', async (t) => {
  const { ask, daemon } = await ready(t, '[fast]\nowner_percent = 1\nmemory_percent = 1\n');
  const client = await daemon.client();
  const { totalBytes } = await client.call('partitions.show', {});
  const part = Math.floor((totalBytes * 0.8) / 100);
  const given = await ask(users.user, create('much', part + MiB), create('some', part - 2 * MiB));
  t.deepEqual(codes(given), ['limit-exceeded', 'ok']);
  t.deepEqual(codes(await ask(users.user, create('more', 3 * MiB))), ['limit-exceeded']);
  t.deepEqual(codes(await ask(users.other, create('theirs', 3 * MiB))), ['limit-exceeded']);
  await t.throwsAsync(done(client, 'fast.create', { name: 'all', bytes: totalBytes, on: 'ram' }), {
    code: 'no-memory',
    message: /without starving a side/,
  });
  t.deepEqual(codes(await ask(users.user, create('tiny', 1000), create('No', MiB))), [
    'bad-value',
    'bad-request',
  ]);
});

rooted('a strange mount at its name is left alone, and told', async (t) => {
  const { root, daemon, ask, at } = await ready(t);
  await ask(users.user, create('taken'));
  await daemon.end('SIGTERM');
  await unmount(at('taken'));
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'strange', at('taken')]);
  spawnSync('mkdir', [at('more')]);
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'strange', at('more')]);
  const again = await startLive(t, root);
  const client = await again.client();
  t.like((await client.call('fast.list', {})).partitions[0], { name: 'taken', state: 'missing' });
  const { notices } = await client.call('daemon.status', {});
  t.true(notices.some(({ text }) => text.includes('fast partition taken: cannot create a mount')));
  t.true(notices.some(({ text, command }) => text.endsWith('more') && command?.includes('umount')));
  t.is(readMountinfo().find((one) => one.at === at('taken'))?.source, 'strange');
});

const onZram = when(test, {
  root: true,
  tools: ['setpriv', 'mkfs.ext4'],
  other: () => (hasZram() ? undefined : 'needs zram, which this kernel has not'),
});

/** Takes away what a test has left: devices that were not there before it. */
function endDevices(t: ExecutionContext): void {
  const before = new Set(allZram().map(({ sequence }) => sequence));
  t.teardown(async () => {
    for (const one of allZram()) if (!before.has(one.sequence)) await removeZram(one);
  });
}

onZram('compressed memory: what is written takes less, what is deleted comes back', async (t) => {
  endDevices(t);
  const known = allZram().length;
  const { root, daemon, ask, at } = await ready(t);
  t.deepEqual(codes(await ask(users.user, create('packed', 64 * MiB, 'zram'))), ['ok']);
  t.deepEqual(codes(await ask(users.user, create('small', 4 * MiB, 'zram'))), ['bad-value']);
  const { uid, mode } = lstatSync(at('packed'));
  t.deepEqual([uid, mode & 0o7777], [users.user, 0o700]);
  const line = readMountinfo().find((one) => one.at === at('packed'));
  t.is(line?.type, 'ext4');
  for (const option of ['nosuid', 'nodev']) t.true(line?.options.includes(option), option);
  t.is(allZram().length, known + 1);
  const text = 'all work and no play makes a dull page\n'.repeat(26_000);
  for (let n = 0; n < 20; n += 1) writeFileSync(join(at('packed'), `${n}`), text);
  run('sync', '-f', at('packed'));
  const page = async () => {
    const [answer] = await ask(users.user, ['fast.list', {}]);
    return (answer?.result as Answer<'fast.list'> | undefined)?.partitions[0];
  };
  const full = await page();
  t.true((full?.usedBytes ?? 0) > 19 * MiB);
  t.true((full?.memoryBytes ?? Number.NaN) < (full?.usedBytes ?? 0) / 2);
  for (let n = 0; n < 20; n += 1) rmSync(join(at('packed'), `${n}`));
  run('sync', '-f', at('packed'));
  t.true(((await page())?.memoryBytes ?? Number.NaN) < (full?.memoryBytes ?? 0) / 2);

  writeFileSync(join(at('packed'), 'note'), 'still here');
  await daemon.end('SIGKILL');
  await startLive(t, root);
  t.is(readFileSync(join(at('packed'), 'note'), 'utf8'), 'still here');
  t.deepEqual(codes(await ask(users.user, remove('packed'))), ['ok']);
  t.is(allZram().length, known);
});

onZram('one whose mount was taken off comes back with what it holds', async (t) => {
  endDevices(t);
  const { root, daemon, ask, at } = await ready(t);
  await ask(users.user, create('packed', 16 * MiB, 'zram'));
  writeFileSync(join(at('packed'), 'note'), 'still here');
  await daemon.end('SIGTERM');
  await unmount(at('packed'));
  const again = await startLive(t, root);
  t.is(readFileSync(join(at('packed'), 'note'), 'utf8'), 'still here');
  const { partitions } = await (await again.client()).call('fast.list', {});
  t.is(partitions[0]?.emptiedMs, undefined);
});

const onDisk = when(test, { root: true, tools: ['setpriv', 'mkfs.ext4', 'fallocate'] });

/** The one image of the daemon's partitions on the disk. */
function imageOf(state: string): string {
  const [name] = readdirSync(join(state, 'fast'));
  return join(state, 'fast', `${name}`);
}

onDisk('on the disk all blocks are its own, and are again after a start', async (t) => {
  const { root, daemon, ask, at } = await ready(t);
  t.deepEqual(codes(await ask(users.user, create('image', 32 * MiB, 'nvme'))), ['ok']);
  const image = imageOf(daemon.state);
  t.true(ownedBytes(image) >= 32 * MiB);
  t.is(statSync(image).mode & 0o7777, 0o600);
  const { uid, mode } = lstatSync(at('image'));
  t.deepEqual([uid, mode & 0o7777], [users.user, 0o700]);
  const line = readMountinfo().find((one) => one.at === at('image'));
  for (const option of ['nosuid', 'nodev']) t.true(line?.options.includes(option), option);
  const loop = `/sys/block/${line?.source.slice('/dev/'.length)}`;
  t.is(readFileSync(`${loop}/queue/discard_max_bytes`, 'ascii').trim(), '0');
  const { partitions } = await (await daemon.client()).call('fast.list', {});
  const direct = readFileSync(`${loop}/loop/dio`, 'ascii').trim() === '1';
  t.is(partitions[0]?.buffered, !direct);
  t.is(as(users.user, 'dd', 'if=/dev/zero', `of=${at('image')}/f`, 'bs=1M', 'count=20').status, 0);
  t.is(as(users.user, 'rm', join(at('image'), 'f')).status, 0);
  run('sync', '-f', at('image'));
  t.true(ownedBytes(image) >= 32 * MiB);

  writeFileSync(join(at('image'), 'note'), 'still here');
  await daemon.end('SIGKILL');
  run('fallocate', '--punch-hole', '--offset', `${24 * MiB}`, '--length', `${MiB}`, image);
  t.true(ownedBytes(image) < 32 * MiB);
  const again = await startLive(t, root);
  t.true(ownedBytes(image) >= 32 * MiB);
  t.is(readFileSync(join(at('image'), 'note'), 'utf8'), 'still here');
  t.deepEqual(codes(await ask(users.user, remove('image'))), ['ok']);
  t.deepEqual(readdirSync(join(again.state, 'fast')), []);
});

onDisk('what lies on the disk is emptied by a boot, too', async (t) => {
  const { root, daemon, ask, at } = await ready(t);
  await ask(users.user, create('image', 16 * MiB, 'nvme'));
  writeFileSync(join(at('image'), 'note'), 'of the boot before');
  await daemon.end('SIGTERM');
  await unmount(at('image'));
  const store = await openStore(join(daemon.state, 'personad.db'));
  await store.commit((tx) => tx.run("UPDATE fast SET boot = 'another'"));
  await store.close();
  const again = await startLive(t, root);
  t.deepEqual(readdirSync(at('image')), []);
  t.is(lstatSync(at('image')).uid, users.user);
  const { partitions } = await (await again.client()).call('fast.list', {});
  t.true((partitions[0]?.emptiedMs ?? 0) > 0);
  t.is(readdirSync(join(daemon.state, 'fast')).length, 1);
});

onDisk('the disk has quotas, and its reserve is kept', async (t) => {
  const settings = '[fast]\nowner_disk = "32MiB"\ndisk_max = "48MiB"\n';
  const { ask, daemon } = await ready(t, settings);
  const given = await ask(
    users.user,
    create('big', 33 * MiB, 'nvme'),
    create('one', 32 * MiB, 'nvme'),
    create('two', 16 * MiB, 'nvme'),
  );
  t.deepEqual(codes(given), ['limit-exceeded', 'ok', 'limit-exceeded']);
  const theirs = [create('three', 17 * MiB, 'nvme'), create('four', 16 * MiB, 'nvme')];
  t.deepEqual(codes(await ask(users.other, ...theirs)), ['limit-exceeded', 'ok']);
  const client = await daemon.client();
  const { freeBytes } = await client.call('system.df', {});
  const all = { name: 'all', bytes: freeBytes, on: 'nvme' as const };
  await t.throwsAsync(done(client, 'fast.create', all), { code: 'no-space' });
});

const onAll = when(test, {
  root: true,
  tools: ['setpriv', 'mkfs.ext4'],
  other: () => (hasZram() ? undefined : 'needs zram, which this kernel has not'),
});

onAll(
  'auto measures all, takes what gains, says why, and leaves nothing else behind',
  async (t) => {
    endDevices(t);
    const known = allZram().length;
    const { ask, daemon, at } = await ready(t);
    const [made] = await ask(users.user, create('best', 32 * MiB, 'auto'));
    const { choice, partition } = (made?.result as Answer<'fast.create'> | undefined)?.result ?? {};
    t.deepEqual(
      choice?.figures.map(({ on }) => on),
      ['disk', 'ram', 'zram', 'nvme'],
    );
    for (const { syncMs, readMs } of choice?.figures ?? []) t.true(syncMs > 0 && readMs > 0);
    t.log(choice?.why);
    if (partition === undefined) t.is(choice?.on, 'none');
    else t.is(partition.on, choice?.on as typeof partition.on);
    t.is(existsSync(at('best')), partition !== undefined);
    t.is(allZram().length, known + (choice?.on === 'zram' ? 1 : 0));
    t.is(readdirSync(join(daemon.state, 'fast')).length, choice?.on === 'nvme' ? 1 : 0);
  },
);

onAll('auto makes nothing where nothing may be had, and says so', async (t) => {
  const settings = '[fast]\nowner_percent = 0\nowner_disk = 0\n';
  const { ask, at } = await ready(t, settings);
  const [asked] = await ask(users.user, create('best', 32 * MiB, 'auto'));
  const { choice, partition } = (asked?.result as Answer<'fast.create'> | undefined)?.result ?? {};
  t.is(partition, undefined);
  t.is(choice?.on, 'none');
  t.regex(choice?.why ?? '', /^no gain: ram: .*over the limit/);
  t.false(existsSync(at('best')));
  const [seen] = await ask(users.user, ['fast.list', {}]);
  t.deepEqual(seen?.result, { partitions: [] });
});
