/** Imported before anything of the daemon: flushes of this process fail when they are told to. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';
import koffi from 'koffi';

const { EIO } = constants.errno;

type Flush = ((fd: number) => number) & { async: unknown };

let before: (() => void) | undefined;

/** The next flush of a file, or of a file system, fails, after `look`. */
export function failNextFlush(look: () => void): void {
  before = look;
}

function isToFail(): boolean {
  const look = before;
  before = undefined;
  look?.();
  return look !== undefined;
}

const { load } = koffi;
koffi.load = ((...args: Parameters<typeof load>) => {
  const library = load(...args);
  const func = (name: string, ...more: unknown[]) => {
    const real = library.func(...([name, ...more] as unknown as [string])) as unknown as Flush;
    if (name !== 'syncfs') return real;
    const flush = (fd: number): number => {
      if (!isToFail()) return real(fd);
      koffi.errno(EIO);
      return -1;
    };
    return Object.assign(flush, { async: real.async });
  };
  return { func };
}) as unknown as typeof load;

const { fsyncSync } = fs;
fs.fsyncSync = (fd) => {
  if (!fs.fstatSync(fd).isDirectory() && isToFail())
    throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
  fsyncSync(fd);
};
syncBuiltinESMExports();
