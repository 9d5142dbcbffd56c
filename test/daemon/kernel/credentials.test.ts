import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { CredentialUnusable, readCredential } from '../../../daemon/kernel/credentials.ts';
import { lockedPlacesInUse } from '../../../daemon/kernel/locked-memory.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const rooted = when(test, { root: true });

function credentials(t: ExecutionContext): string {
  const folder = join(temporaryFolder(t), 'credentials');
  mkdirSync(folder, { mode: 0o500 });
  return folder;
}

rooted('a credential is read into locked memory, every byte of it', (t) => {
  const folder = credentials(t);
  const content = Buffer.from([0, 10, 255, ...Array(4093).fill(7)]);
  writeFileSync(join(folder, 'key'), content, { mode: 0o400 });
  const before = lockedPlacesInUse();
  const bytes = readCredential(folder, 'key');
  t.deepEqual(Buffer.from(bytes.bytes()), content);
  t.is(lockedPlacesInUse(), before + 1);
  bytes.wipe();
});

rooted('what is no credential of ours is refused, and nothing of it stays', (t) => {
  const folder = credentials(t);
  const file = (name: string, bytes: number, mode = 0o400) => {
    writeFileSync(join(folder, name), Buffer.alloc(bytes, 1), { mode });
    chmodSync(join(folder, name), mode);
  };
  file('empty', 0);
  file('large', 4097);
  file('open', 5, 0o440);
  file('given', 5);
  chownSync(join(folder, 'given'), 1, 0);
  mkdirSync(join(folder, 'folder'), { mode: 0o500 });
  symlinkSync('/etc/passwd', join(folder, 'link'));
  run('mkfifo', '-m', '400', join(folder, 'pipe'));
  const refused: [string | undefined, string, RegExp][] = [
    [undefined, 'key', /no credentials/],
    [join(folder, 'gone'), 'key', /taken its credentials away/],
    [folder, 'missing', /not given it/],
    [folder, 'empty', /has 0 bytes/],
    [folder, 'large', /has 4097 bytes/],
    [folder, 'open', /others than root/],
    [folder, 'given', /others than root/],
    [folder, 'folder', /no file/],
    [folder, 'link', /no file/],
    [folder, 'pipe', /no file/],
  ];
  const before = lockedPlacesInUse();
  for (const [place, name, message] of refused)
    t.throws(() => readCredential(place, name), { instanceOf: CredentialUnusable, message });
  t.is(lockedPlacesInUse(), before);
});
