import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { noFaults } from '../../../daemon/changes/faults.ts';
import { journalOver } from '../../../daemon/changes/journal.ts';
import { silentLog } from '../../../daemon/changes/log.ts';
import { settingsOf } from '../../../daemon/config/settings.ts';
import { openStore } from '../../../daemon/store/database.ts';
import { spaceOf } from '../../../daemon/system/space.ts';
import { fillDisk } from '../../support/fill-disk.ts';
import { mountImage } from '../../support/mount-image.ts';
import { run, when } from '../../support/needs.ts';

const MiB = 1024 ** 2;

/** A real, small ext4 of its own. */
function smallDisk(
  t: ExecutionContext,
  mib: number,
  make = ['mkfs.ext4', '-F', '-m', '0'],
): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-space-'));
  const image = join(folder, 'disk.img');
  const disk = join(folder, 'disk');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(image, '');
  run('truncate', '-s', `${mib}M`, image);
  run(...(make as [string]), '-q', image);
  mkdirSync(disk);
  mountImage(image, disk);
  t.teardown(() => run('umount', '-l', disk));
  return disk;
}

const settings = (reserve: string, keepFree: string) =>
  settingsOf([
    { key: 'space.reserve', value: reserve, origin: 'test:1' },
    { key: 'space.keep_free', value: keepFree, origin: 'test:2' },
    { key: 'space.keep_free_percent', value: 0, origin: 'test:3' },
  ]).values;

/** Fills the file system to its last block. */
function fill(disk: string): void {
  for (const [name, block] of [
    ['large', MiB],
    ['small', 4096],
  ] as const) {
    try {
      for (let n = 0; ; n++) writeFileSync(join(disk, `${name}-${n}`), Buffer.alloc(block, 1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

const needs = { root: true, tools: ['mkfs.ext4', 'mount', 'truncate'] };

when(test, needs)('work is refused before the disk is full; a rescue is not', async (t) => {
  const disk = smallDisk(t, 64);
  const space = spaceOf({
    state: disk,
    settings: settings('0', '32MiB'),
    log: silentLog,
  });
  await space.check(8 * MiB);
  const error = await t.throwsAsync(space.check(48 * MiB));
  t.is((error as unknown as { code: string }).code, 'no-space');
  await space.check(48 * MiB, true);
  const { keepFreeBytes, availableBytes } = await space.usage();
  t.is(keepFreeBytes, 32 * MiB);
  t.true(availableBytes > 0 && availableBytes <= 64 * MiB);
});

when(test, needs)('the reserve owns its blocks, is given back, and is taken again', async (t) => {
  const disk = smallDisk(t, 64);
  const space = spaceOf({
    state: disk,
    settings: settings('8MiB', '0'),
    log: silentLog,
  });
  t.true(await space.refill());
  t.true(statSync(join(disk, 'reserve')).blocks * 512 >= 8 * MiB);
  const before = (await space.usage()).availableBytes;
  t.false(await space.relieve(new Error('of another kind')));
  t.true(await space.relieve(Object.assign(new Error('full'), { code: 'SQLITE_FULL' })));
  t.true((await space.usage()).availableBytes >= before + 8 * MiB);
  t.true(await space.refill());
  t.is((await space.usage()).reserveBytes >= 8 * MiB, true);
});

when(test, needs)(
  'with no block left the journal is still written, from the reserve',
  async (t) => {
    const disk = smallDisk(t, 64);
    const space = spaceOf({
      state: disk,
      settings: settings('4MiB', '0'),
      log: silentLog,
    });
    const store = await openStore(join(disk, 'personad.db'));
    t.teardown(() => store.close());
    const journal = journalOver(
      store,
      noFaults,
      () => 0,
      (error) => space.relieve(error),
    );
    await space.refill();
    fill(disk);
    t.is((await space.usage()).availableBytes < 64 * 1024, true);
    const plan = { kind: 'test', summary: 'x'.repeat(100_000), ownerUid: 0, holds: [], tasks: [] };
    for (let changeId = 1; changeId <= 10; changeId++)
      await journal.append({
        changeId,
        create: plan,
        events: [{ step: 'create' }],
        status: 'queued',
      });
    t.is(await journal.lastId(), 10);
    t.is((await space.usage()).reserveBytes, 0);
    t.false(await space.refill(), 'there is no room for it yet');
  },
);

when(test, { root: true, tools: ['mkfs.btrfs'] })(
  'a full disk that copies what is written ends no process, and what was committed is there',
  async (t) => {
    const disk = smallDisk(t, 128, ['mkfs.btrfs', '-M']);
    const file = join(disk, 'personad.db');
    const store = await openStore(file, { presized: true });
    const committed: string[] = [];
    let refused = 0;
    const write = async (name: string): Promise<void> => {
      try {
        await store.commit((tx) =>
          tx.run('INSERT INTO facts (name, value) VALUES (?, ?)', name, 'x'),
        );
        committed.push(name);
      } catch (error) {
        t.regex(String((error as { code?: unknown }).code), /^SQLITE_(FULL|IOERR)/);
        refused += 1;
      }
    };
    fillDisk(join(disk, 'fill'));
    for (let n = 0; n < 300; n++) await write(`full ${n}`);
    t.true(refused > 0, 'the disk was never full');
    rmSync(join(disk, 'fill'));
    run('sync', '-f', disk);
    await write('room again');
    t.is(committed.at(-1), 'room again');
    await store.close();
    const again = await openStore(file);
    const rows = await again.all<{ name: string }>('SELECT name FROM facts');
    await again.close();
    t.deepEqual(rows.map(({ name }) => name).sort(), committed.sort());
  },
);
