import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from './errno.ts';

/**
 * Opens a file that root named, for reading. A FIFO or a device does not hold up the daemon: only plain files are
 * taken. Throws file-not-found, permission-denied or bad-value.
 */
export async function openNamedFile(path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) throw new PersonaError('file-not-found', { path });
    if (failedWith(error, 'EACCES', 'EPERM')) {
      throw new PersonaError('permission-denied', `${path} cannot be read`);
    }
    throw error;
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new PersonaError('bad-value', { name: path, reason: 'it is not a plain file' });
}
