import { KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const fcntl = declareInt('fcntl', ['int', 'int', 'i64']);

// Numbers of include/uapi/linux/fcntl.h and of signal(7).
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_UNLCK = 2;
/** Ignored by who does not ask for it; the usual one would end this process. */
const SIGURG = 23;

/**
 * True while somebody has this file open for writing, or mapped so, by whatever name; also where that cannot be told. The file is open for
 * reading here, and its owner's. A lease tells it (fcntl(2)), which is given back at once: whoever opens the file in that instant waits for it.
 */
export function isOpenForWriting(file: Fd): boolean {
  try {
    fcntl(file.number, F_SETSIG, SIGURG);
    fcntl(file.number, F_SETLEASE, F_RDLCK);
  } catch (error) {
    if (error instanceof KernelError) return true;
    throw error;
  }
  fcntl(file.number, F_SETLEASE, F_UNLCK);
  return false;
}
