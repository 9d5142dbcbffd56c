import { formatSize } from '../../ipc/values.ts';
import { isExt4Of } from '../kernel/ext4.ts';
import { errorsText } from '../kernel/ext4-witness.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { openImage } from './backing.ts';
import type { VolumesRoom } from './room.ts';
import type { VolumeName } from './volume.ts';
import { witnessVolume } from './witness.ts';

/** Whether a volume is what it was. What programs write in it has no digest: nothing is said of that. */
export interface VolumeHealth {
  name: VolumeName;
  /** Length of its image. */
  bytes: number;
  mounted: boolean;
  errors: number;
  /** Absent when nothing is wrong with what can be looked at. */
  problem?: string;
}

/** Somebody has put another file in the place of the image that is mounted. */
async function isExchanged(room: VolumesRoom, name: VolumeName): Promise<boolean> {
  const { image, imageName, whole } = room.places(name);
  using file = openImage(image);
  return !(await isExt4Of(file, imageName, statMount(whole).device));
}

/** Looks at one volume: its identity, the errors the kernel has noted, and that each of its blocks is set aside. */
export async function healthOf(room: VolumesRoom, name: VolumeName): Promise<VolumeHealth> {
  const volume = room.volume(name);
  const mounted = room.isReady(name);
  const witness = witnessVolume(room.places(name).image, volume);
  const { errors } = witness;
  const found = (problem: string | undefined): VolumeHealth => ({
    ...{ name, bytes: volume.limitBytes, mounted, errors },
    ...(problem === undefined ? {} : { problem }),
  });
  const shown = witness.problem ?? errorsText(witness);
  if (shown !== undefined || !mounted) return found(shown ?? room.problem(name));
  if (await isExchanged(room, name))
    return found('another file lies in the place of the image that is mounted');
  await room.check(name);
  const missing = room.missing(name);
  return found(missing === 0 ? undefined : `${formatSize(missing)} of it are not set aside`);
}

/** The same of all volumes. */
export async function healthOfAll(room: VolumesRoom): Promise<VolumeHealth[]> {
  return await Promise.all(room.names().map((name) => healthOf(room, name)));
}
