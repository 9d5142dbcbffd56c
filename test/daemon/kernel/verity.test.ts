import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openFile } from '../../../daemon/kernel/openat.ts';
import { trySeal } from '../../../daemon/kernel/probe-seal.ts';
import {
  FS_IOC_ENABLE_VERITY,
  FS_IOC_MEASURE_VERITY,
  measureVerity,
  sealFile,
} from '../../../daemon/kernel/verity.ts';
import { temporaryFolder } from '../../support/temp.ts';

// Where the kernel has fs-verity: test/system/verity.long.system.test.ts. Here: the numbers, and what happens without it.

test('the numbers are those of linux/fsverity.h', (t) => {
  t.is(FS_IOC_ENABLE_VERITY, 0x40806685n);
  t.is(FS_IOC_MEASURE_VERITY, 0xc0046686n);
});

test('a file is sealed, or left as it is where that cannot be', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'image');
  writeFileSync(path, Buffer.alloc(10_000, 1), { mode: 0o400 });
  const seal = await sealFile(path);
  t.is(await sealFile(path), seal, 'safe to repeat');
  using file = openFile(path);
  t.is(measureVerity(file), seal);
  const works = await trySeal(folder).then(
    () => true,
    (error: unknown) => {
      t.regex(String(error), /EOPNOTSUPP|ENOTTY/);
      return false;
    },
  );
  t.is(seal !== undefined, works);
  if (works) t.throws(() => writeFileSync(path, 'other'), { code: 'EPERM' });
  else t.notThrows(() => writeFileSync(path, 'other'));
});
