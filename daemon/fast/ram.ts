import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import { holdsMore, mountTmpfs, resizeTmpfs } from '../kernel/tmpfs.ts';
import type { Medium } from './medium.ts';

const sourceOf = ({ id }: { id: string }): string => `persona-fast:${id}`;

/** What it says that is to be smaller than what it holds, at `path`. */
export function tooSmallFor(path: string): PersonaError {
  const { totalBytes, freeBytes, inodesTotal, inodesFree } = localSpaceOf(path);
  const reason = `it holds ${formatSize(totalBytes - freeBytes)} in ${inodesTotal - inodesFree} files`;
  return new PersonaError('bad-value', { name: 'the size', reason });
}

/** Memory: a tmpfs of bounded size. The mark is its source in the mount table. */
export const ram: Medium = {
  bytesMin: 1024 * 1024,
  takesMemory: true,
  countsAs: 1,
  obstacle: () => undefined,
  async open(partition) {
    const { bytes, owner, gid } = partition;
    const shape = { bytes, source: sourceOf(partition), uid: owner, gid };
    const { mount, swaps } = await mountTmpfs(shape);
    return { mount, empty: true, opened: { swaps } };
  },
  openedOf: (partition, { type, source, superOptions }) => {
    if (type !== 'tmpfs' || source !== sourceOf(partition)) return undefined;
    return { swaps: !superOptions.includes('noswap') };
  },
  async resize(mount, bytes, { swaps = false }) {
    try {
      await resizeTmpfs(mount, { bytes, swaps });
    } catch (error) {
      throw holdsMore(error) ? tooSmallFor(mount.path) : error;
    }
  },
  memoryBytes(_partition, at) {
    const { totalBytes, availableBytes } = localSpaceOf(at);
    return totalBytes - availableBytes;
  },
  keepUp: async () => undefined,
  async drop() {
    // The memory is free when the mount has ended.
  },
};
