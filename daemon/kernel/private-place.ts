import { attach, changeMount, cloneTree, openPlace } from './mounts.ts';
import { statMount } from './stat-mount.ts';

/**
 * Makes the folder a mount of its own, nosuid and nodev, from which nothing spreads: what is mounted below it appears in no
 * other namespace that exists. Safe to repeat.
 */
export function makePrivatePlace(folder: string): void {
  if (!statMount(folder).isMountRoot) {
    const self = cloneTree(folder);
    try {
      changeMount(self, { nosuid: true, nodev: true, propagation: 'private' });
      attach(self, folder);
    } finally {
      self.close();
    }
  }
  changeMount(folder, { propagation: 'private' });
}

/** Moves what is mounted at `from` to `to`, with those who use it inside. Both lie in one private place. */
export function moveMount(from: string, to: string): void {
  using mount = openPlace(from);
  attach(mount, to);
}
