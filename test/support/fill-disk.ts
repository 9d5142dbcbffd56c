import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

const piece = Buffer.alloc(1024 ** 2, 1);

/** Writes and flushes until nothing more goes; the error that ended it, and how much went. */
export function fillDisk(path: string): { bytes: number; code: string } {
  const file = openSync(path, 'w');
  let bytes = 0;
  try {
    for (;;) {
      bytes += writeSync(file, piece);
      fsyncSync(file);
    }
  } catch (error) {
    return { bytes, code: String((error as NodeJS.ErrnoException).code) };
  } finally {
    closeSync(file);
  }
}
