import { readdirSync } from 'node:fs';
import test from 'ava';
import { speedOf } from '../../../daemon/kernel/disk-speed.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('a folder is measured, and nothing stays in it', async (t) => {
  const folder = temporaryFolder(t);
  const { syncMs, readMs } = await speedOf(folder);
  t.true(syncMs > 0 && readMs > 0);
  t.deepEqual(readdirSync(folder), []);
  await t.throwsAsync(speedOf(`${folder}/missing`), { code: 'ENOENT' });
});
