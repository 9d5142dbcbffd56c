import { failedWith } from './errno.ts';
import { declare } from './libc.ts';

const lseek = declare('lseek', ['int', 'i64', 'int']);

/** include/uapi/linux/fs.h */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * Where the data of an open file lies: sorted ranges within `size`, holes between and after them. More than
 * `rangesMax` ranges: the rest counts as data. Moves the descriptor's position.
 */
export function dataRanges(
  fd: number,
  size: number,
  rangesMax: number,
): [offset: number, length: number][] {
  const ranges: [number, number][] = [];
  for (let at = 0; at < size; ) {
    let start: number;
    try {
      start = lseek(fd, at, SEEK_DATA);
    } catch (error) {
      if (failedWith(error, 'ENXIO')) break;
      throw error;
    }
    if (start >= size) break;
    const last = ranges.length === rangesMax - 1;
    const end = last ? size : Math.min(size, lseek(fd, start, SEEK_HOLE));
    const before = ranges.at(-1);
    if (before !== undefined && before[0] + before[1] === start) before[1] += end - start;
    else ranges.push([start, end - start]);
    at = end;
  }
  return ranges;
}
