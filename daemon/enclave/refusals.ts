import { PersonaError } from '../../ipc/errors.ts';
import { failedWith, KernelError } from '../kernel/errno.ts';
import { ProgramFailed } from '../kernel/exec.ts';

/** Runs a step's work; what the machine refuses becomes an error that says what to do. `place` is what fills up. */
export async function told<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw sayable(error, place);
  }
}

function sayable(error: unknown, place: string): unknown {
  if (failedWith(error, 'ENOSPC', 'EDQUOT'))
    return new PersonaError(
      'no-space',
      { needed: 'more', free: 'too little', path: place },
      { cause: error },
    );
  if (failedWith(error, 'EOPNOTSUPP', 'ENOTTY', 'ENOPKG'))
    return new PersonaError(
      'capability-missing',
      { capability: 'encryption of ext4 (fscrypt with AES-256-XTS)' },
      { cause: error },
    );
  if (error instanceof ProgramFailed)
    return new PersonaError(
      'tool-failed',
      { tool: error.file, reason: error.stderr.trim() || error.message },
      { cause: error },
    );
  if (error instanceof KernelError)
    return new PersonaError(
      'kernel-refused',
      { call: error.syscall, reason: error.message },
      { cause: error },
    );
  return error;
}
