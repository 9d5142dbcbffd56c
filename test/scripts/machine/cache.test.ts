import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { cached, keyOf } from '../../../scripts/machine/cache.ts';
import { temporaryFolder } from '../../support/temp.ts';

function emptyCache(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  process.env.PERSONAD_MACHINE_DIR = folder;
  return folder;
}

test.serial('a thing is made once, and again for another key', async (t) => {
  emptyCache(t);
  let made = 0;
  const make = async (to: string) => {
    made += 1;
    writeFileSync(join(to, 'number'), String(made));
  };
  const first = await cached('image', keyOf('a'), make);
  t.is(await cached('image', keyOf('a'), make), first);
  const second = await cached('image', keyOf('b'), make);
  t.is(readFileSync(join(first, 'number'), 'utf8'), '1');
  t.is(readFileSync(join(second, 'number'), 'utf8'), '2');
});

test.serial('parts of a key do not run together', (t) => {
  t.not(keyOf('ab', 'c'), keyOf('a', 'bc'));
});

test.serial('what failed while it was made is not there', async (t) => {
  const folder = emptyCache(t);
  const make = async (to: string) => {
    writeFileSync(join(to, 'half'), '');
    throw new Error('no space');
  };
  await t.throwsAsync(cached('image', keyOf('a'), make), { message: 'no space' });
  t.deepEqual(readdirSync(folder), []);
});

test.serial('the last few of a kind stay, those of other kinds are not counted', async (t) => {
  emptyCache(t);
  const paths: string[] = [];
  for (const [hour, name] of ['a', 'b', 'c'].entries()) {
    const path = await cached('image', keyOf(name), async () => undefined);
    utimesSync(path, hour * 3600, hour * 3600);
    paths.push(path);
  }
  paths.push(await cached('image', keyOf('d'), async () => undefined));
  const other = await cached('image-other', keyOf('a'), async () => undefined);
  t.deepEqual(paths.map(existsSync), [false, true, true, true]);
  t.true(existsSync(other));
});
