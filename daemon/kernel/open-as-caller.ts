import { constants, openSync } from 'node:fs';
import { failedWith, KernelError } from './errno.ts';
import { Fd } from './fd.ts';
import { cloneTree } from './mounts.ts';

/** Opens the folder a user named, following links as the user would. Only for a process that is that user. */
export function openTree(path: string): Fd {
  try {
    return new Fd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY), path);
  } catch (error) {
    throw new KernelError('open', (error as NodeJS.ErrnoException).code ?? 'EIO', path);
  }
}

/**
 * Opens a folder without what is mounted over parts of it: the folders below show through, and no mounted file system is
 * asked anything (a network server may be gone). For root; where the kernel refuses, the plain folder.
 */
export function openUncovered(path: string): Fd {
  try {
    using clone = cloneTree(path);
    return openTree(clone.path);
  } catch (error) {
    if (failedWith(error, 'EINVAL', 'EPERM', 'ENOSYS')) return openTree(path);
    throw error;
  }
}
