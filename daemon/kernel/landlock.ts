import { accessSync, constants } from 'node:fs';
import { failedWith } from './errno.ts';
import { declareSyscall } from './libc.ts';
import { nativeProgram } from './program-files.ts';

const createRuleset = declareSyscall('landlock_create_ruleset', 444, ['bytes', 'u64', 'uint']);
/** LANDLOCK_CREATE_RULESET_VERSION of include/uapi/linux/landlock.h. */
const VERSION = 1;

/** The program that confines itself, and what it confines with. */
export interface Landlock {
  /** Version of the kernel's interface; 0: it has none, or it is switched off. */
  version: number;
  /** The program's file, where it is there. */
  program: string | undefined;
}

/** What the kernel has. */
export function landlockVersion(): number {
  try {
    return createRuleset(null, 0, VERSION);
  } catch (error) {
    if (failedWith(error, 'ENOSYS', 'EOPNOTSUPP')) return 0;
    throw error;
  }
}

/** What this machine has, now. */
export function landlockHere(): Landlock {
  const program = nativeProgram('persona-confine');
  try {
    accessSync(program, constants.X_OK);
    return { version: landlockVersion(), program };
  } catch (error) {
    if (!failedWith(error, 'ENOENT', 'EACCES')) throw error;
    return { version: landlockVersion(), program: undefined };
  }
}
