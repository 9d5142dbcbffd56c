import { formatSize } from '../../ipc/values.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';

/** Less than this share of it is little. */
const LITTLE = 1 / 16;

/**
 * What to say of an application whose memory is nearly full, at `folder`; undefined while it is not. It was given twice what its folders held, and more
 * is not given while it runs: its programs are told that the disk is full, which it is not.
 */
export function shortageOf(folder: string): string | undefined {
  const { availableBytes, totalBytes, inodesFree, inodesTotal } = localSpaceOf(folder);
  const left =
    availableBytes < totalBytes * LITTLE
      ? `${formatSize(availableBytes)} of ${formatSize(totalBytes)}`
      : inodesFree < inodesTotal * LITTLE
        ? `${inodesFree} of ${inodesTotal} files`
        : undefined;
  return (
    left &&
    `only ${left} of its memory are left, and then it is told that its disk is full; ended and started again, it has twice what it holds`
  );
}
