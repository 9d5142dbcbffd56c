import { mountTmpfs } from '../kernel/tmpfs.ts';
import type { Medium } from './medium.ts';

const sourceOf = ({ id }: { id: string }): string => `persona-fast:${id}`;

/** Memory: a tmpfs of bounded size. The mark is its source in the mount table. */
export const ram: Medium = {
  open: (partition) => {
    const { bytes, owner, gid } = partition;
    return mountTmpfs({ bytes, source: sourceOf(partition), uid: owner, gid });
  },
  isOf: (partition, { type, source }) => type === 'tmpfs' && source === sourceOf(partition),
  async drop() {
    // The memory is free when the mount has ended.
  },
};
