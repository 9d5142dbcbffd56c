import { declareInt } from './libc.ts';

const prctl = declareInt('prctl', ['int', 'u64', 'u64', 'u64', 'u64']);
const setrlimit = declareInt('setrlimit', ['int', 'bytes']);

/** include/uapi/linux/prctl.h */
const PR_SET_DUMPABLE = 4;
/** asm-generic/resource.h */
const RLIMIT_CORE = 4;
/** struct rlimit: two words of 64 bits. */
const RLIMIT_BYTES = 16;

/**
 * From now on no memory of this process, keys included, reaches a core file (SECURITY 22): neither one that the kernel writes, nor one that
 * it hands to a program, which the limit alone does not keep it from. Children inherit the limit.
 */
export function refuseCoreDumps(): void {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  setrlimit(RLIMIT_CORE, Buffer.alloc(RLIMIT_BYTES));
}
