import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { mountTmpfs } from '../../../daemon/kernel/tmpfs.ts';
import { shortageOf } from '../../../daemon/writeback/room-left.ts';
import { when } from '../../support/needs.ts';

const MiB = 1 << 20;
const shape = { bytes: 16 * MiB, source: 'persona:test', uid: 0, gid: 0 };

when(test, { root: true })(
  'memory that is nearly full is told, by bytes and by files',
  async (t) => {
    const { mount: full } = await mountTmpfs(shape);
    const { mount: crowded } = await mountTmpfs(shape);
    using _full = full;
    using _crowded = crowded;
    t.is(shortageOf(full.path), undefined);
    writeFileSync(join(full.path, 'file'), Buffer.alloc(15.5 * MiB));
    t.regex(shortageOf(full.path) ?? '', /^only 512 KiB of 16 MiB of its memory are left/);
    for (let i = 0; i < 2000; i += 1) writeFileSync(join(crowded.path, `${i}`), '');
    t.regex(shortageOf(crowded.path) ?? '', /^only \d+ of 2048 files of its memory are left/);
  },
);
