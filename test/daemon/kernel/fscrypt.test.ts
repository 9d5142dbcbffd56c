import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  addFileSystemKey,
  encryptedUnder,
  encryptFolder,
  fscryptKeyBytes,
  removeFileSystemKey,
} from '../../../daemon/kernel/fscrypt.ts';
import { makeFolderIn, OPEN, openBeneath } from '../../../daemon/kernel/openat.ts';
import { fscryptNeeds, inVolume, lockedBytes } from '../../support/fscrypt.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const encrypting = when(test, fscryptNeeds);
const key = () => lockedBytes(Buffer.alloc(fscryptKeyBytes, 7));

encrypting('without its key a folder shows no name and no byte of what is in it', async (t) => {
  const folder = temporaryFolder(t);
  await inVolume(folder, async (top) => {
    using given = key();
    const identifier = addFileSystemKey(top, given);
    t.regex(identifier, /^[0-9a-f]{32}$/);
    makeFolderIn(top, 'data', 0o700);
    const data = join(top.path, 'data');
    {
      using open = openBeneath(top, 'data', { flags: OPEN.folder });
      t.is(encryptedUnder(open), undefined);
      encryptFolder(open, identifier);
      encryptFolder(open, identifier);
      t.is(encryptedUnder(open), identifier);
    }
    writeFileSync(join(data, 'canary-name'), 'canary-content');
    t.deepEqual(await removeFileSystemKey(top, identifier), { there: true, busy: false });
    t.deepEqual(await removeFileSystemKey(top, identifier), { there: false, busy: false });
    const [name = ''] = readdirSync(data);
    t.not(name, 'canary-name');
    t.throws(() => readFileSync(join(data, name)), { message: /ENOKEY|-126/ });
    t.throws(() => writeFileSync(join(data, 'new'), 'x'), { message: /ENOKEY|-126/ });
    t.is(addFileSystemKey(top, given), identifier);
    t.is(readFileSync(join(data, 'canary-name'), 'utf8'), 'canary-content');
    await removeFileSystemKey(top, identifier);
  });
  const image = readFileSync(join(folder, 'fscrypt.ext4'), 'latin1');
  t.false(image.includes('canary-name'));
  t.false(image.includes('canary-content'));
});

encrypting('a file that is open stays readable to whoever has it, and is told of', async (t) => {
  await inVolume(temporaryFolder(t), async (top) => {
    using given = key();
    const identifier = addFileSystemKey(top, given);
    mkdirSync(join(top.path, 'data'));
    {
      using open = openBeneath(top, 'data', { flags: OPEN.folder });
      encryptFolder(open, identifier);
    }
    const file = join(top.path, 'data/x');
    writeFileSync(file, 'still');
    const held = openSync(file, 'r');
    t.deepEqual(await removeFileSystemKey(top, identifier), { there: true, busy: true });
    const bytes = Buffer.alloc(5);
    readSync(held, bytes, 0, 5, 0);
    t.is(bytes.toString(), 'still');
    closeSync(held);
    t.deepEqual(await removeFileSystemKey(top, identifier), { there: true, busy: false });
  });
});

encrypting(
  'a folder that holds something, or is encrypted under another key, is refused',
  async (t) => {
    await inVolume(temporaryFolder(t), async (top) => {
      using given = key();
      using another = lockedBytes(Buffer.alloc(fscryptKeyBytes, 8));
      const [one, two] = [addFileSystemKey(top, given), addFileSystemKey(top, another)];
      t.not(one, two);
      for (const name of ['full', 'taken']) mkdirSync(join(top.path, name));
      writeFileSync(join(top.path, 'full/x'), '');
      using full = openBeneath(top, 'full', { flags: OPEN.folder });
      t.throws(() => encryptFolder(full, one), { code: 'ENOTEMPTY' });
      using taken = openBeneath(top, 'taken', { flags: OPEN.folder });
      encryptFolder(taken, one);
      t.throws(() => encryptFolder(taken, two), { code: 'EEXIST' });
    });
  },
);
