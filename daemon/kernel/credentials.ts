import { constants, fstatSync, readSync } from 'node:fs';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { LockedBytes, lockedBytesMax } from './locked-memory.ts';
import { OPEN, openBeneath, openFolder } from './openat.ts';

/** Why a credential cannot be used: a word for people. */
export class CredentialUnusable extends Error {}

/** Not for a FIFO to hold up. */
const reading = OPEN.read | constants.O_NONBLOCK;

/**
 * What the service manager keeps for this service under a name (systemd.exec(5), CREDENTIALS), in locked memory, for the caller to wipe.
 * Throws CredentialUnusable.
 * @param folder what $CREDENTIALS_DIRECTORY says; undefined when the service has none.
 */
export function readCredential(folder: string | undefined, name: string): LockedBytes {
  if (folder === undefined) throw new CredentialUnusable('the service was given no credentials');
  using dir = opened(
    () => openFolder(folder),
    'the service manager has taken its credentials away',
  );
  using file = opened(
    () => openBeneath(dir, name, { flags: reading }),
    'the service was not given it',
  );
  const { uid, mode, size } = fstatSync(file.number);
  if ((mode & constants.S_IFMT) !== constants.S_IFREG)
    throw new CredentialUnusable('it is no file');
  if (uid !== 0 || (mode & 0o077) !== 0)
    throw new CredentialUnusable('others than root can read it');
  if (size < 1 || size > lockedBytesMax)
    throw new CredentialUnusable(`it has ${size} bytes, and a key has 1 to ${lockedBytesMax}`);
  const bytes = new LockedBytes(size);
  if (readSync(file.number, bytes.bytes(), 0, size, 0) === size) return bytes;
  bytes.wipe();
  throw new CredentialUnusable('it changes while it is read');
}

function opened(open: () => Fd, missing: string): Fd {
  try {
    return open();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) throw new CredentialUnusable(missing);
    if (failedWith(error, 'ELOOP')) throw new CredentialUnusable('it is no file');
    throw error;
  }
}
