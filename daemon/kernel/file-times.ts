import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { cBytes } from './openat.ts';

const utimensat = declareInt('utimensat', ['int', 'bytes', 'bytes', 'int']);

/** include/uapi/linux/fcntl.h, include/uapi/linux/stat.h. */
const AT_SYMLINK_NOFOLLOW = 0x100;
const UTIME_OMIT = (1n << 30n) - 2n;
const SECOND = 1_000_000_000n;

/** Sets when the content of `name` in `dir` was changed, in nanoseconds since 1970; when it was read is left alone. A link is itself. */
export function setChangeTime(dir: Fd, name: string, mtimeNs: bigint): void {
  // Rounded down for times before 1970: the nanoseconds always count upwards.
  const seconds = mtimeNs / SECOND - (mtimeNs % SECOND < 0n ? 1n : 0n);
  const times = Buffer.alloc(32); // struct timespec[2]: access, change of content
  times.writeBigInt64LE(UTIME_OMIT, 8);
  times.writeBigInt64LE(seconds, 16);
  times.writeBigInt64LE(mtimeNs - seconds * SECOND, 24);
  utimensat(dir.number, cBytes(name), times, AT_SYMLINK_NOFOLLOW);
}
