import { closeSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { KernelError } from './errno.ts';

// What /proc says of a process is as long as its user likes, and the kernel may work on one line of it for seconds.

/** The kernel hands over one page at a time, unless a line is longer. */
const PIECE_BYTES = 16 * 1024;
/** Four times a path of the greatest length, each of its bytes escaped. */
const LINE_BYTES_MAX = 64 * 1024;

/** Of /proc/PID/maps: a program with a quarter of a million mappings has a text of this length. */
export const MAPS_BYTES_MAX = 32 << 20;

const readLater = promisify(read);

/** The text of a file that only this process makes long. Throws EFBIG when it is longer than `bytesMax`. */
export function readProcText(path: string, bytesMax: number): string {
  const file = openSync(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    let text = '';
    for (let bytes = 0; ; ) {
      const count = readSync(file, piece, 0, piece.length, null);
      if (count === 0) return text;
      bytes += count;
      if (bytes > bytesMax) throw new KernelError('read', 'EFBIG', path);
      text += piece.toString('latin1', 0, count);
    }
  } finally {
    closeSync(file);
  }
}

/**
 * Reads such a file of another process in the thread pool, and hands over whole lines, some at a time, until `take` has seen enough. Throws
 * EFBIG when there is more of it than `bytesMax`, or a line longer than any that a program has use for.
 */
export async function readProcLines(
  path: string,
  bytesMax: number,
  take: (lines: string) => boolean,
): Promise<void> {
  const file = openSync(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    let begun = '';
    for (let bytes = 0; ; ) {
      const { bytesRead } = await readLater(file, piece, 0, piece.length, null);
      if (bytesRead === 0) {
        take(begun);
        return;
      }
      bytes += bytesRead;
      const text = piece.toString('latin1', 0, bytesRead);
      const end = text.lastIndexOf('\n') + 1;
      if (end > 0 && take(begun + text.slice(0, end))) return;
      begun = end > 0 ? text.slice(end) : begun + text;
      if (bytes > bytesMax || begun.length > LINE_BYTES_MAX)
        throw new KernelError('read', 'EFBIG', path);
    }
  } finally {
    closeSync(file);
  }
}
