import { constants, openSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { Fd } from './fd.ts';

/** Opens the folder a user named, following links as the user would. Only for a process that is that user. */
export function openTree(path: string): Fd {
  try {
    return new Fd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY), path);
  } catch (error) {
    throw new KernelError('open', (error as NodeJS.ErrnoException).code ?? 'EIO', path);
  }
}
