import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import { exists, removeFolder } from '../kernel/files.ts';
import { isDetached } from '../kernel/loop-find.ts';
import { attach, changeMount, cloneTree, unmount } from '../kernel/mounts.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { openImage } from './backing.ts';
import type { VolumePlaces } from './volume.ts';

async function isMounted(place: string): Promise<boolean> {
  return (await exists(place)) && statMount(place).isMountRoot;
}

/** Shows what the volume holds at its place. Throws `in-use` when something else is mounted there. */
export async function show(places: VolumePlaces): Promise<void> {
  const { at, data, whole } = places;
  const seen = statMount(at);
  if (seen.isMountRoot) {
    if (seen.device === statMount(whole).device) return;
    throw new PersonaError('in-use', { what: at, by: 'another file system that is mounted there' });
  }
  const tree = cloneTree(data);
  try {
    attach(tree, at);
  } finally {
    await tree.closeLater();
  }
  changeMount(at, { propagation: 'private' });
}

/** Takes the mounts of a volume off; what is not there is fine. Throws EBUSY while a program is inside. */
export async function takeOff({ at, whole }: VolumePlaces): Promise<void> {
  if (await isMounted(at)) await unmount(at);
  if (await isMounted(whole)) await unmount(whole);
  await removeFolder(at);
  await removeFolder(whole);
}

/** True when nothing shows the image any more: mounts in other namespaces keep it as well as ours. */
export async function ended(image: string, name: string): Promise<boolean> {
  if (!(await exists(image))) return true;
  using file = openImage(image);
  return await isDetached(file, name);
}

/** Takes a volume off for good. Throws `in-use` while somebody has it; it may be off in part then. */
export async function endVolume(places: VolumePlaces): Promise<void> {
  const { image, imageName, at } = places;
  const busy = new PersonaError('in-use', {
    what: `the volume at ${at}`,
    by: 'programs that have something open in it, or by a mount of it in another namespace',
  });
  try {
    await takeOff(places);
  } catch (error) {
    if (failedWith(error, 'EBUSY')) throw busy;
    throw error;
  }
  if (!(await ended(image, imageName))) throw busy;
}
