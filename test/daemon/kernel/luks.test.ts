import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { formatLuks, luksIdentity } from '../../../daemon/kernel/luks.ts';
import { lockedBytes } from '../../support/fscrypt.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const MiB = 1024 ** 2;
const nodes = '/dev/mapper';
const by = { uuid: '01234567-89ab-4cde-8f01-23456789abcd', label: 'persona-test' };

when(test, { tools: ['cryptsetup'] })('a header takes one key and says whose it is', async (t) => {
  // Looking for device-mapper, cryptsetup makes its node.
  if (!existsSync(nodes)) t.teardown(() => rmSync(nodes, { recursive: true, force: true }));
  const image = join(temporaryFolder(t), 'volume');
  writeFileSync(image, '');
  truncateSync(image, 16 * MiB);
  t.is(luksIdentity(image), undefined);
  using key = lockedBytes('k'.repeat(64));
  await formatLuks(image, by, key);
  t.deepEqual(luksIdentity(image), by);
  const asked = (words: string[], input?: string) =>
    execFileSync('cryptsetup', [...words, image], { input, encoding: 'utf8', stdio: 'pipe' });
  const opens = ['open', '--test-passphrase', '--key-file', '-'];
  t.is(asked(opens, 'k'.repeat(64)), '');
  t.throws(() => asked(opens, 'l'.repeat(64)), { message: /No key available/ });
  const dump = asked(['luksDump']);
  t.regex(dump, /offset: 1048576 \[bytes\]/, 'the header leaves the volume to its content');
  t.regex(dump, /cipher: aes-xts-plain64\s+sector: 4096/);
});
