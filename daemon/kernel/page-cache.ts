import { declareInt } from './libc.ts';

const fadvise = declareInt('posix_fadvise', ['int', 'i64', 'i64', 'int']);
/** Of linux/fadvise.h. */
const DONTNEED = 4;

/** Has the kernel forget what it has of a file in memory, but what was not written yet, is mapped, or is locked. */
export async function dropCached(file: number): Promise<void> {
  await fadvise.later(file, 0, 0, DONTNEED);
}
