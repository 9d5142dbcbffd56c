import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { reconfigure } from '../../../daemon/kernel/fs-context.ts';
import { mountTmpfs, resizeTmpfs } from '../../../daemon/kernel/tmpfs.ts';
import { BYTES_MAX, RoomLeft, shortageOf } from '../../../daemon/writeback/room-left.ts';
import { when } from '../../support/needs.ts';

const MiB = 1 << 20;
const shape = { bytes: 16 * MiB, source: 'persona:test', uid: 0, gid: 0 };
const rooted = when(test, { root: true });

rooted('memory that is nearly full is told, by bytes and by files', async (t) => {
  const { mount: full } = await mountTmpfs(shape);
  const { mount: crowded } = await mountTmpfs(shape);
  using _full = full;
  using _crowded = crowded;
  t.is(shortageOf(full.path), undefined);
  writeFileSync(join(full.path, 'file'), Buffer.alloc(15.5 * MiB));
  t.regex(shortageOf(full.path) ?? '', /^only 512 KiB of 16 MiB of its memory are left/);
  for (let i = 0; i < 2000; i += 1) writeFileSync(join(crowded.path, `${i}`), '');
  t.regex(shortageOf(crowded.path) ?? '', /^only \d+ of 2048 files of its memory are left/);
});

/** Memory of 16 MiB that grows when it is asked to, until `refuse`; `hour` lets an hour pass. */
async function memory(t: ExecutionContext) {
  const { mount, swaps } = await mountTmpfs(shape);
  t.teardown(() => mount.closeLater());
  const asked: number[] = [];
  let refusal: string | undefined;
  let nowMs = 0;
  const room = new RoomLeft(
    async (bytes) => {
      asked.push(bytes / MiB);
      if (refusal !== undefined) throw new Error(refusal);
      await resizeTmpfs(mount, { bytes, swaps });
    },
    () => nowMs,
  );
  return {
    ...{ mount, swaps, asked, folder: mount.path },
    keep: () => room.keep(mount.path),
    told: () => room.told(mount.path),
    write: (name: string, mib: number) =>
      writeFileSync(join(mount.path, name), Buffer.alloc(mib * MiB)),
    remove: (name: string) => rmSync(join(mount.path, name)),
    refuse(why: string | undefined) {
      refusal = why;
    },
    hour() {
      nowMs += 3_600_000;
    },
  };
}

rooted('who has little room gets twice as much, again and again', async (t) => {
  const { keep, asked, told, write, folder } = await memory(t);
  write('a', 12);
  await keep();
  t.deepEqual(asked, []);
  write('b', 1);
  await keep();
  await keep();
  t.deepEqual(asked, [32]);
  write('c', 15);
  await keep();
  t.deepEqual(asked, [32, 64]);
  for (let i = 0; i < 6200; i += 1) writeFileSync(join(folder, `${i}`), '');
  await keep();
  t.deepEqual(asked, [32, 64, 128]);
  t.is(statfsSync(folder).files, (128 * MiB) / 8192);
  t.is(told(), undefined);
});

rooted('who is refused more is told why, and asked for again only after a while', async (t) => {
  const { keep, asked, told, write, remove, refuse, hour } = await memory(t);
  write('a', 15);
  t.is(told(), undefined, 'nobody was asked');
  refuse('cannot accept this');
  await keep();
  await keep();
  t.deepEqual(asked, [32]);
  t.regex(
    told() ?? '',
    /^only 1 MiB of 16 MiB of its memory are left, and it could not be given more: cannot accept this;/,
  );
  remove('a');
  t.is(told(), undefined, 'it has room');
  write('a', 15);
  refuse(undefined);
  hour();
  await keep();
  t.deepEqual(asked, [32, 32]);
  t.is(told(), undefined);
});

rooted('it is given more once at a time, and never more than all may have', async (t) => {
  const { mount, swaps, write, keep, asked, told } = await memory(t);
  write('a', 13);
  await Promise.all([keep(), keep()]);
  t.deepEqual(asked, [32]);
  await resizeTmpfs(mount, { bytes: BYTES_MAX, swaps });
  const stays = swaps ? [] : [{ key: 'noswap' }];
  await reconfigure(mount, [{ key: 'nr_inodes', text: '1024' }, ...stays], 'few files');
  for (let i = 0; i < 800; i += 1) writeFileSync(join(mount.path, `${i}`), '');
  await keep();
  t.deepEqual(asked, [32]);
  t.regex(told() ?? '', /could not be given more: no application has more than 8 GiB in memory/);
});
